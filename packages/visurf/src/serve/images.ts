/** Images of a request as bytes. Names of files are never read: what a client sends cannot reach the file system. */
import { Refusal } from './failure.ts';

const PATIENCE = 10_000;

/** @param isFetched whether http and https addresses are fetched @param maxBytes of an image that is fetched */
export async function imageOf(url: string, isFetched: boolean, maxBytes: number): Promise<Uint8Array> {
  const [, coding, data] = /^data:(?:image\/[\w.+-]+)?(?:;[\w-]+=[^;,]*)*(;base64)?,(.*)$/s.exec(url) ?? [];
  if (data !== undefined) {
    if (coding === undefined) throw refusal('must be coded in base64: data:image/png;base64,...');
    const bytes = Buffer.from(data, 'base64');
    if (bytes.length === 0) throw refusal('holds no bytes in base64');
    return bytes;
  }
  if (!/^https?:/.test(url)) throw refusal('must be a data URI: data:image/png;base64,...');
  if (!isFetched) throw refusal('is an address, which this server does not fetch: send a data URI');
  return await fetched(url, maxBytes);
}

const refusal = (reason: string): Refusal => new Refusal(400, `image_url ${reason}`, 'messages');

async function fetched(url: string, maxBytes: number): Promise<Uint8Array> {
  try {
    // A redirect could lead to where the client may not look.
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(PATIENCE) });
    if (!response.ok) throw refusal(`cannot be fetched: status ${response.status}`);
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      bytes += part.length;
      if (bytes > maxBytes) throw refusal(`has more than ${maxBytes} bytes`);
      parts.push(part);
    }
    return Buffer.concat(parts);
  } catch (error) {
    throw error instanceof Refusal ? error : refusal('cannot be fetched');
  }
}
