/** `visurf publish`: a trained model on the hub, with a page that says what it is. */
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gone, kept } from '@visurf/torch/signals';
import { parseValue } from './config/yaml.ts';

import { UserError } from './errors.ts';
import { modelCard } from './card.ts';
import { exportModel, type Exported, type ExportOptions } from './export/export.ts';
import { hubName, isHubId } from './hub/id.ts';
import { hubUrlOf, tokenOf, type DownloadProgress } from './hub/repository.ts';
import { upload } from './hub/upload.ts';
import { loadLocalPolicy, locateModel, type ModelSource } from './policy.ts';
import { readText } from './regular.ts';

export interface PublishOptions
  extends Omit<ModelSource, 'onProgress'>, Pick<ExportOptions, 'dtype' | 'maxShardBytes' | 'merge'> {
  /** `owner/name` on the hub. */
  readonly to: string;
  /** Unset: that of the base, where it says one. */
  readonly license?: string | undefined;
  /** Of a repository that is made. */
  readonly private?: boolean | undefined;
  /** Of the program, for the page. */
  readonly version: string;
  readonly onDownload?: ModelSource['onProgress'];
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly patience?: number | undefined;
}

export interface Published extends Pick<Exported, 'kind' | 'files'> {
  readonly url: string;
  readonly commit: string;
}

/**
 * @throws UserError for a name or a token that cannot be used, a model that cannot be had, or an adapter whose base is on no
 * hub
 */
export async function publish(model: string, options: PublishOptions): Promise<Published> {
  const { to, merge, dtype, maxShardBytes, onDownload, onProgress, signal, patience, version } = options;
  if (!isHubId(to, '')) {
    throw new UserError(`${JSON.stringify(to)} is no name on the hub`, { where: '--to', remedy: 'Write owner/name.' });
  }
  const accessToken = tokenOf(options);
  if (accessToken === undefined) {
    throw new UserError('publishing needs a token', {
      where: to,
      remedy: 'Give one with the right to write: HF_TOKEN=hf_...',
    });
  }
  const { revision, token, endpoint, offline, cacheDir } = options;
  const hub = { revision, token, endpoint, offline, cacheDir, onProgress: onDownload };
  const { base, adapter } = await locateModel(model, { ...hub, base: options.base, adapter: options.adapter });
  const checkpoint = realpathSync(adapter ?? base);
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-publish-'));
  kept(folder);
  try {
    using policy = loadLocalPolicy(base, { adapter, dtype: 'auto' });
    const named = policy.peft ? (hubName(realpathSync(base))?.id ?? undefined) : baseOfRun(checkpoint);
    if (policy.peft && !merge && named === undefined) {
      throw new UserError('an adapter is of no use without its base, which is on no hub', {
        where: checkpoint,
        remedy: 'Publish the whole model: --merge.',
      });
    }
    const place = path.join(folder, 'model');
    const { kind, files } = exportModel(policy, place, { dtype, maxShardBytes, merge });
    const license = options.license ?? licenseOf(base);
    const { task } = policy.settings ?? {};
    writeFileSync(
      path.join(place, 'README.md'),
      modelCard({ id: to, kind, checkpoint, base: named, license, task, version }),
    );
    const hubUrl = hubUrlOf(options);
    const commit = await upload(to, place, {
      ...{ hubUrl, accessToken, isPrivate: options.private ?? false, onProgress, signal, patience },
      title: 'Published by visurf',
    });
    return { url: `${hubUrl}/${to}`, commit, kind, files: [...files, 'README.md'].sort() };
  } finally {
    rmSync(folder, { recursive: true, force: true });
    gone(folder);
  }
}

/** The name on the hub of the model that a run began with. */
function baseOfRun(checkpoint: string): string | undefined {
  const file = path.join(checkpoint, '../../config.yaml');
  if (!existsSync(file)) return undefined;
  const model = (parseValue(readText(file), file) as { model?: unknown } | null)?.model;
  if (typeof model !== 'string') return undefined;
  return isHubId(model) ? model : hubName(model)?.id;
}

/** What the page of the base says. */
function licenseOf(base: string): string | undefined {
  const file = path.join(base, 'README.md');
  const [, front] = existsSync(file) ? (/^---\n([^]*?)\n---/.exec(readText(file)) ?? []) : [];
  try {
    const license =
      front === undefined ? undefined : (parseValue(front, file) as { license?: unknown } | null)?.license;
    return typeof license === 'string' ? license : undefined;
  } catch {
    // A page that cannot be read says nothing of it.
    return undefined;
  }
}
