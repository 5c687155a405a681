/** What went wrong between here and an object store, in words that say what to do; never what proves who we are. */
import { fileError, messageOf, UserError } from '../errors.ts';

interface ServiceError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly statusCode?: number };
}

export function statusOf(error: unknown): number | undefined {
  const { $metadata, $response } = (error ?? {}) as ServiceError;
  return $metadata?.httpStatusCode ?? $response?.statusCode;
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : '');

export const isMissing = (error: unknown): boolean =>
  statusOf(error) === 404 && !['NoSuchBucket', 'NoSuchUpload'].includes(nameOf(error));

/** The condition of a write does not hold: somebody else has written. */
export const isConflict = (error: unknown): boolean => statusOf(error) === 412;

/** A store that knows no conditional writes, and says so. */
export const isUnknown = (error: unknown): boolean => statusOf(error) === 501;

/** Whether the same request may succeed a moment later, or when somebody has mended the network. */
export function isTemporary(error: unknown): boolean {
  if (error instanceof UserError) return false;
  const status = statusOf(error);
  if (status === undefined) return nameOf(error) !== 'CredentialsProviderError';
  if (nameOf(error) === 'NoSuchUpload') return true;
  return status === 408 || status === 409 || status === 429 || status >= 500 || /Throttl|SlowDown/.test(nameOf(error));
}

/** Credentials that were good once. */
export const isExpired = (error: unknown): boolean =>
  /^(Expired|Invalid)Token|^TokenRefreshRequired$/.test(nameOf(error));

/** What a store says of who asks, by name: beside what may be asked. */
const PROOFS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
  InvalidAccessKeyId: ['the store does not know the credentials', 'Check AWS_ACCESS_KEY_ID, and AWS_ENDPOINT_URL.'],
  InvalidClientTokenId: ['the store does not know the credentials', 'Check AWS_ACCESS_KEY_ID, and AWS_ENDPOINT_URL.'],
  SignatureDoesNotMatch: ['the secret does not belong to the access key', 'Check AWS_SECRET_ACCESS_KEY.'],
  RequestTimeTooSkewed: ["this machine's clock is not that of the store", 'Set the clock, and try again.'],
};

/** The file of this machine that could not be read or written. */
export const fileOf = (error: unknown): string | undefined =>
  error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : undefined;

/** A word or two for a warning. */
export function reasonOf(error: unknown): string {
  const status = statusOf(error);
  const name = nameOf(error);
  if (status !== undefined) return `${name === '' || name === 'Error' ? 'an error' : name}, status ${status}`;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return code ?? messageOf(error).split('\n')[0]!.slice(0, 200);
}

/** A UserError for what a store refused; a failure of ours as it is. */
export function explained(error: unknown, where: string, host: string): unknown {
  if (error instanceof UserError) return error;
  const file = fileOf(error);
  if (file !== undefined) return fileError(error, { where: file });
  const status = statusOf(error);
  const say = (reason: string, remedy: string): UserError => new UserError(reason, { where, remedy, cause: error });
  if (nameOf(error) === 'CredentialsProviderError') {
    const remedy = 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or run where a role is given.';
    return say('there are no credentials for the store', remedy);
  }
  if (messageOf(error).includes('Region is missing'))
    return say('the region of the bucket is not said', 'Set AWS_REGION.');
  if (nameOf(error) === 'NoSuchBucket') return say('there is no such bucket', 'Make it, or choose another output.');
  const proof = PROOFS[nameOf(error)];
  if (proof) return say(`${proof[0]} (${reasonOf(error)})`, proof[1]);
  if (isExpired(error)) {
    const remedy = 'Renew them; a run goes on with --resume, from what this machine has of it.';
    return say(`the credentials for the store are not valid any more (${reasonOf(error)})`, remedy);
  }
  if (status === 401 || status === 403) {
    const remedy = 'The credentials need to list the bucket, and to get, put and delete objects below the prefix.';
    return say(`the store refuses access (${reasonOf(error)})`, remedy);
  }
  if (status === 301 || status === 307 || nameOf(error) === 'PermanentRedirect') {
    return say('the bucket is in another region', 'Set AWS_REGION to it.');
  }
  if (status !== undefined) return say(`the store failed (${reasonOf(error)})`, 'Try again later.');
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return error;
  return say(
    `the store cannot be reached at ${host} (${reasonOf(error)})`,
    'Check the network and AWS_ENDPOINT_URL; nothing has been written.',
  );
}
