/** A YAML file and `key=value` overrides become a checked configuration. Messages name file and line. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parse,
  parseDocument,
  stringify,
  type Document,
} from 'yaml';
import type { z } from 'zod';
import { fileError, hasCode, messageOf, missingFile, UserError } from '../errors.ts';
import { readText as readRegular } from '../regular.ts';
import { loadPlugin, type Plugin } from '../plugins/plugins.ts';
import { taskDefinition } from '../tasks/registry.ts';
import { dataHubName } from '../data/hub.ts';
import { isHubId } from '../hub/id.ts';
import { isStored } from '../store/address.ts';
import { keysAt, type Effect, type KeyFacts } from './facts.ts';
import { LEAVES, leafOf, paradigmKeyFault } from './keys.ts';
import { onlyUsed, unusedKeys, withParadigmDefaults } from './paradigm.ts';
import { unusedOfPreset, withPreset } from './presets.ts';
import { configSchema, resolveAuto, type Config } from './schema.ts';
import { shareOf } from './share.ts';
import { suggestKey, suggestValue } from './suggest.ts';

/** Says where a path of keys was written. */
type Locate = (path: readonly PropertyKey[]) => string;

export interface LoadOptions {
  /** Directory that relative paths in overrides are relative to; unset: the working directory. */
  readonly cwd?: string;
  /** Overrides that several paradigms share, and that come before the others: they count as part of the file. */
  readonly shared?: readonly string[];
  /** Hears of keys of the file that its paradigm does not use. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** False: only to compare it, the programs that it names stay where they are. */
  readonly plugins?: boolean;
}

/** Brackets within brackets: no configuration has so many, and parsers take long for them or run out of stack. */
const DEEPEST = 200;

/** @throws UserError where values are nested beyond all measure */
function requireFlat(text: string, where: string): void {
  let depth = 0;
  for (const { 0: bracket } of text.matchAll(/[[\]{}]/g)) {
    depth = Math.max(0, depth + (bracket === '[' || bracket === '{' ? 1 : -1));
    if (depth > DEEPEST) throw new UserError(`values are nested more than ${DEEPEST} deep`, { where });
  }
}

/** A YAML file of keys and values. @throws UserError that names the line */
export function readYaml(file: string, text = readText(file)): { document: Document; lines: LineCounter } {
  const lines = new LineCounter();
  requireFlat(text, file);
  const document = parseDocument(text, { lineCounter: lines, logLevel: 'error' });
  const [broken] = document.errors;
  if (broken) {
    const reason = broken.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '');
    throw new UserError(reason, { where: `${file}:${lines.linePos(broken.pos[0]).line}` });
  }
  document.contents ??= document.createNode({}) as never;
  if (!isMap(document.contents)) throw new UserError('must hold keys and values', { where: `${file}:1` });
  try {
    document.toJS();
  } catch (error) {
    // Aliases of nothing, and of too much.
    throw new UserError(messageOf(error), { where: file });
  }
  return { document, lines };
}

/**
 * Reads a configuration. Relative paths in the file are relative to it, those in overrides to `cwd`; the result has
 * absolute paths only, and the text of the prompt template where the file named a file.
 * Keys of the file that the paradigm does not use are left out, so that one file serves several; an override that it
 * does not use is a mistake.
 * @param given unset: the overrides are the whole configuration
 * @example loadConfig('visurf.yaml', ['optimizer.learningRate=1e-5', 'rollout.group=4'])
 * @throws UserError with every mistake found
 */
export function loadConfig(
  given: string | undefined,
  overrides: readonly string[] = [],
  options: LoadOptions = {},
): Config {
  const { cwd = process.cwd(), shared = [], onWarning, plugins = true } = options;
  const file = given ?? 'this command';
  const { document, lines } = readYaml(file, given === undefined ? '' : undefined);
  aliased(file, () => absolutePaths(document, path.dirname(path.resolve(file))));
  const apply = (override: string) => applyOverride(document, override, cwd);
  const common = shared.map(apply);
  const own = overrides.map(apply);
  const overridden = [...common, ...own];
  const isOverridden = (keys: readonly string[]): boolean =>
    own.some(({ path: given }) => given.every((key, depth) => keys[depth] === key));
  const values = aliased(file, () => document.toJS() as Record<string, unknown>);
  const locate: Locate = (keys) => {
    const override =
      overridden.findLast(({ path: given }) => given.every((key, depth) => keys[depth] === key)) ??
      overridden.findLast(({ path: given, isNew }) => isNew && keys.length > 0 && keys[0] === given[0]);
    if (override) return `override ${override.text}`;
    return given === undefined ? file : `${file}:${lineOf(document, lines, keys)}`;
  };
  if (plugins) loadPlugins(values, locate);
  const unused = unusedKeys(values).flatMap(({ path: keys }) => (isKnown(keys) && !isOverridden(keys) ? [keys] : []));
  for (const keys of unused) document.deleteIn(keys);
  const names = [
    ...unused.map((keys) => keys.join('.')),
    ...unusedOfPreset(values).map((key) => `${key} of its preset`),
  ];
  if (names.length > 0) {
    const paradigm = (values.paradigm as string | undefined) ?? 'visurf';
    onWarning?.(`${file}: the paradigm ${paradigm} does not use ${names.join(', ')}`);
  }
  return check(
    aliased(file, (): unknown => document.toJS()),
    locate,
  );
}

/**
 * Checks a configuration given as an object; its paths are relative to the working directory.
 * @throws UserError with every mistake found
 */
export function parseConfig(value: unknown): Config {
  const document = parseDocument(stringify(value));
  if (!isMap(document.contents)) throw new UserError('a configuration must be an object');
  absolutePaths(document, process.cwd());
  const locate: Locate = (keys) => keys.join('.') || 'configuration';
  const values = document.toJS() as Record<string, unknown>;
  loadPlugins(values, locate);
  return check(values, locate);
}

/** Loads the plugins that a file and overrides name, whatever else stands there. @throws UserError where one fails */
export function loadPluginsOf(file: string, overrides: readonly string[]): void {
  const { document, lines } = readYaml(file);
  absolutePaths(document, path.dirname(path.resolve(file)));
  for (const override of overrides) applyOverride(document, override, process.cwd());
  loadPlugins(document.toJS() as Record<string, unknown>, (keys) => `${file}:${lineOf(document, lines, keys)}`);
}

/** Plugins come first: what they define may be named in any key. Values that name no files are left to the schema. */
function loadPlugins({ plugins }: Readonly<Record<string, unknown>>, locate: Locate): void {
  const isList = Array.isArray(plugins);
  for (const [i, file] of (isList ? (plugins as unknown[]) : [plugins]).entries()) {
    if (typeof file !== 'string') continue;
    located(() => checkParadigms(loadPlugin(file)), locate(isList ? ['plugins', i] : ['plugins']));
  }
}

/** @throws UserError where a paradigm has to do with keys that there are not */
function checkParadigms({ file, paradigms }: Plugin): void {
  for (const paradigm of paradigms) {
    const fault = paradigmKeyFault(paradigm);
    if (fault !== undefined) throw new UserError(`the paradigm "${paradigm.name}": ${fault}`, { where: file });
  }
}

/**
 * YAML of what the paradigm uses, which reads back.
 * @param directory that the file is for: paths are relative to it, so that a project that is moved reads back, too
 */
export function configToYaml(config: Config, directory?: string): string {
  const document = parseDocument(stringify(onlyUsed(config)));
  if (directory !== undefined) changePaths(document, (kind, value) => relative(kind, value, directory));
  return document.toString();
}

/** sha256 of the configuration with sorted keys. */
export function configHash(config: Config): string {
  return createHash('sha256').update(canonical(config)).digest('hex');
}

/** A dotted key with another value. */
export interface ChangedKey {
  readonly key: string;
  readonly effect: Effect;
  /** As JSON; undefined where it is not there. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** Keys whose values differ. Files and folders do not count by their names: they may have been moved. */
export function changedKeys(before: Config, after: Config): ChangedKey[] {
  const [a, b] = [leaves(before), leaves(after)];
  return [...new Set([...a.keys(), ...b.keys()])].sort().flatMap((key): ChangedKey[] => {
    const leaf = leafOf(key);
    const [was, is] = [a.get(key), b.get(key)];
    const isPath = (value: string | undefined): boolean => value === undefined || value.startsWith('"/');
    const placeless = (value: string | undefined): string | undefined =>
      value?.replaceAll(/"\/(?:[^"\\]|\\.)*"/g, '"/"');
    const isPlace = leaf?.path !== undefined && leaf.path !== 'template';
    const isMoved = isPlace && ((isPath(was) && isPath(is)) || placeless(was) === placeless(is));
    if (was === is || isMoved || key.startsWith('plugins')) return [];
    return [{ key, effect: leaf?.effect ?? 'course', before: was, after: is }];
  });
}

const isKnown = (keys: readonly string[]): boolean => keysAt(configSchema, keys.slice(0, -1)).includes(keys.at(-1)!);

function check(value: unknown, locate: Locate): Config {
  const values = value as Record<string, unknown>;
  const unused = unusedKeys(values).flatMap(({ path: keys, reason }) =>
    isKnown(keys) ? [{ where: locate(keys), reason }] : [],
  );
  const parsed = configSchema.safeParse(withParadigmDefaults(withPreset(values)), { reportInput: true });
  const mistakes = parsed.success ? [] : mistakesOf(parsed.error.issues, configSchema, [], locate);
  const wrong = [...unused, ...lengthFault(values, locate), ...mistakes];
  if (!parsed.success || wrong.length > 0) throw listOf(wrong);
  const config = resolveAuto(parsed.data);
  if (config.data.task in config.tasks) {
    const reason = `the parameters of the task ${config.data.task} belong under task, as data.task names it`;
    throw new UserError(reason, { where: locate(['tasks', config.data.task]) });
  }
  const tasks = Object.entries(config.tasks).map(([name, given]) => {
    const keys = ['tasks', name];
    return [name, taskParameters(name, given, locate(keys), keys, locate)] as const;
  });
  return {
    ...config,
    task: taskParameters(config.data.task, config.task, locate(['data', 'task']), ['task'], locate),
    tasks: Object.fromEntries(tasks),
    data: { ...config.data, prompt: promptText(config.data.prompt, locate) },
  };
}

/** `steps` or `epochs` say how long training is. */
function lengthFault(values: Readonly<Record<string, unknown>>, locate: Locate): Mistake[] {
  const given = ['steps', 'epochs'].filter((key) => values[key] !== undefined);
  if (given.length === 1) return [];
  if (given.length === 0) {
    const remedy = 'Add it: steps (batches of prompts), or epochs (passes over the training data).';
    return [{ where: locate(['steps']), reason: 'missing key steps', remedy }];
  }
  const remedy = 'Leave one of them out; on the command line, epochs= or steps= takes it out of the file.';
  return [{ where: locate(['epochs']), reason: 'steps and epochs both say how long training is', remedy }];
}

/** Parameters of a task that is named at `where`, and that stand under `keys`. */
function taskParameters(
  name: string,
  given: unknown,
  where: string,
  keys: string[],
  locate: Locate,
): Record<string, unknown> {
  const { parameters } = located(() => taskDefinition(name), where);
  const parsed = parameters.safeParse(given);
  if (!parsed.success) throw listOf(mistakesOf(parsed.error.issues, parameters, keys, locate));
  return parsed.data as Record<string, unknown>;
}

interface Mistake {
  readonly where: string;
  readonly reason: string;
  readonly remedy?: string | undefined;
}

/** `schema` is that of the object found under `prefix`. */
export function mistakesOf(
  issues: readonly z.core.$ZodIssue[],
  schema: z.ZodType,
  prefix: string[],
  locate: Locate,
): Mistake[] {
  return issues.flatMap(ofBranch).flatMap((issue) => {
    const at = [...prefix, ...issue.path];
    if (issue.code !== 'unrecognized_keys') return [{ where: locate(at), ...describe(issue, at) }];
    const input = issue.input as Readonly<Record<string, unknown>> | undefined;
    return issue.keys.map((key) => {
      const full = [...at, key];
      const remedy = suggestKey(key, input?.[key], schema, issue.path, prefix);
      return { where: locate(full), reason: `unknown key ${full.join('.')}`, remedy };
    });
  });
}

/** What is wrong with a value that may be of several kinds, by the kind that it comes nearest to. */
function ofBranch(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const branches = issue.errors.map((own) => own.flatMap(ofBranch));
  const depth = ({ code, path: keys }: z.core.$ZodIssue): number => keys.length + (code === 'invalid_type' ? 0 : 1);
  const nearness = branches.map((own) => Math.max(...own.map(depth)));
  const nearest = branches[nearness.indexOf(Math.max(...nearness))]!;
  return nearest.map((own) => ({ ...own, path: [...issue.path, ...own.path] }));
}

/** One error for all mistakes. */
export function listOf(found: readonly Mistake[]): UserError {
  const [first, ...rest] = found;
  if (first && rest.length === 0) return new UserError(first.reason, first);
  const list = found.map(({ where, reason, remedy }) => `  ${where}: ${reason}${remedy ? ` (${remedy})` : ''}`);
  return new UserError(`${found.length} mistakes in the configuration:\n${list.join('\n')}`);
}

function describe(issue: z.core.$ZodIssue, at: PropertyKey[]): { reason: string; remedy: string | undefined } {
  const key = at.join('.') || 'configuration';
  if (issue.code === 'custom')
    return { reason: `${key}: ${issue.message}`, remedy: suggestValue(key, issue.input, []) };
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) {
    return { reason: `missing key ${key}`, remedy: `Add it: ${key} (${issue.expected}).` };
  }
  const remedy = issue.code === 'invalid_value' ? suggestValue(key, issue.input, issue.values) : undefined;
  return { reason: `${key}: ${issue.message}`, remedy };
}

interface Override {
  readonly path: readonly string[];
  readonly text: string;
  /** The file has nothing under the first part of the path. */
  readonly isNew: boolean;
}

/** Sets one dotted key of the document to a value written as in YAML; no value takes the key out. */
function applyOverride(document: Document, text: string, cwd: string): Override {
  const split = text.indexOf('=');
  const keys = text.slice(0, Math.max(split, 0)).split('.');
  const where = `override ${text}`;
  if (split < 1 || keys.includes('')) {
    throw new UserError('not of the form key=value', { where, remedy: 'Example: optimizer.learningRate=1e-5' });
  }
  const isNew = !document.hasIn(keys.slice(0, 1));
  let value: unknown;
  try {
    requireFlat(text, where.slice(0, 100));
    value = parse(text.slice(split + 1), { logLevel: 'error' });
  } catch (error) {
    throw new UserError(messageOf(error).split('\n')[0]!, { where });
  }
  for (let depth = 1; depth < keys.length; depth++) {
    const parent = document.getIn(keys.slice(0, depth));
    if (parent === null || parent === undefined) document.setIn(keys.slice(0, depth), document.createNode({}));
    else if (!isMap(parent)) throw new UserError(`${keys.slice(0, depth).join('.')} has no keys below it`, { where });
  }
  if (value === null) {
    if (document.hasIn(keys)) document.deleteIn(keys);
    return { path: keys, text, isNew };
  }
  const kind = leafOf(keys.join('.'))?.path;
  document.setIn(keys, kind ? absolute(kind, value, cwd) : value);
  return { path: keys, text, isNew };
}

/**
 * A path, or a list of them or of `{file}`, which is relative to `base`. A model or data set may be named as on the hub, a template
 * be a text.
 */
function absolute(kind: NonNullable<KeyFacts['path']>, value: unknown, base: string): unknown {
  if (Array.isArray(value)) return value.map((each: unknown) => absolute(kind, each, base));
  if (isEntry(value)) return { ...value, file: absolute(kind, value.file, base) };
  if (typeof value !== 'string' || (kind === 'template' && isTemplate(value))) return value;
  if (kind === 'data' && shareOf(value) !== undefined) return value;
  if (kind === 'output' && isStored(value)) return value;
  const resolved = path.resolve(base, value);
  const isRemote =
    (kind === 'model' && isHubId(value, resolved)) || (kind === 'data' && dataHubName(value, resolved) !== undefined);
  return isRemote ? value : resolved;
}

const isEntry = (value: unknown): value is { readonly file: unknown } =>
  typeof value === 'object' && value !== null && 'file' in value;

/** A prompt given as text rather than as a file. */
function isTemplate(prompt: string): boolean {
  return prompt.includes('{');
}

/** The other way, for what lies beside `base`: what they share is more than the root. */
function relative(kind: NonNullable<KeyFacts['path']>, value: unknown, base: string): unknown {
  if (Array.isArray(value)) return value.map((each: unknown) => relative(kind, each, base));
  if (isEntry(value)) return { ...value, file: relative(kind, value.file, base) };
  if (typeof value !== 'string' || kind === 'template' || !path.isAbsolute(value)) return value;
  const shared = value.split(path.sep)[1] === base.split(path.sep)[1];
  // `./` tells it from a model of the hub.
  return shared ? path.relative(base, value).replace(/^(?!\.\.?(\/|$))/, './') : value;
}

const absolutePaths = (document: Document, base: string): void =>
  changePaths(document, (kind, value) => absolute(kind, value, base));

function changePaths(
  document: Document,
  change: (kind: NonNullable<KeyFacts['path']>, value: unknown) => unknown,
): void {
  for (const { key, path: kind } of LEAVES) {
    const keys = key.split('.');
    if (kind === undefined || !document.hasIn(keys)) continue;
    const value = document.getIn(keys);
    if (isSeq(value) && !hasAlias(value)) {
      // In their places, so that messages can name the lines.
      for (const item of value.items) {
        if (isScalar(item)) item.value = change(kind, item.value);
        else if (isMap(item) && item.has('file')) item.set('file', change(kind, item.get('file')));
      }
    } else document.setIn(keys, change(kind, isNode(value) ? value.toJS(document) : value));
  }
}

function hasAlias(node: unknown): boolean {
  if (isSeq(node)) return node.items.some(hasAlias);
  return isMap(node) ? node.items.some(({ value }) => hasAlias(value)) : isAlias(node);
}

const promptText = (prompt: string | undefined, locate: Locate): string | undefined =>
  prompt === undefined ? undefined : promptTemplate(prompt, locate(['data', 'prompt']));

/**
 * A prompt template: the text itself where it has variables, else what the file of that name holds.
 * @param where names the option in messages
 * @throws UserError where neither has a variable
 */
export function promptTemplate(prompt: string, where: string): string {
  if (isTemplate(prompt)) return prompt;
  const remedy = 'A prompt is a text with {Question} in it, or a file that holds one.';
  const text = located(() => readText(prompt), where, remedy);
  if (!isTemplate(text)) throw new UserError(`${prompt} holds no variable such as {Question}`, { where, remedy });
  // Editors end a file with a line break that is no part of the prompt.
  return text.replace(/\r?\n$/, '');
}

/** Adds the place in the configuration to a UserError thrown inside. */
function located<T>(read: () => T, where: string, remedy?: string): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(error.message, { where, remedy, cause: error });
  }
}

/** @throws UserError for an alias whose anchor is gone, as where an override or an absolute path has taken its place */
function aliased<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    throw new UserError(error.message, { where: file, remedy: 'Write the value out.', cause: error });
  }
}

function readText(file: string): string {
  try {
    return readRegular(file);
  } catch (error) {
    throw hasCode(error, 'ENOENT') ? missingFile(file) : fileError(error, { where: file });
  }
}

/** Line of the deepest written key on the way to a path, from 1. */
export function lineOf(document: Document, lines: LineCounter, keys: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const key of keys) {
    if (isSeq(node) && isNode(node.items[Number(key)])) {
      node = node.items[Number(key)];
      offset = (node as { range?: number[] }).range?.[0] ?? offset;
      continue;
    }
    if (!isMap(node)) break;
    const pair = node.items.find((item) => String(item.key) === String(key));
    if (!pair) break;
    offset = (pair.key as { range?: number[] }).range?.[0] ?? offset;
    node = pair.value;
  }
  return lines.linePos(offset).line;
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Every leaf (an array is one) as dotted key and canonical JSON. */
function leaves(value: object, prefix = ''): Map<string, string> {
  return new Map(
    Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
      if (inner === undefined) return [];
      if (typeof inner === 'object' && inner !== null && !Array.isArray(inner))
        return [...leaves(inner, `${prefix}${key}.`)];
      return [[prefix + key, canonical(inner)] as [string, string]];
    }),
  );
}
