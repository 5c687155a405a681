/** A YAML file and `key=value` overrides become a checked configuration. Messages name file and line. */
import path from 'node:path';
import { isMap, parseDocument, stringify } from 'yaml';
import { UserError } from '../errors.ts';
import { loadPlugin, type Plugin } from '../plugins/plugins.ts';
import { taskDefinition } from '../tasks/registry.ts';
import { aliased, applyOverride } from './override.ts';
import { keysAt } from './facts.ts';
import { paradigmKeyFault } from './keys.ts';
import { listOf, located, mistakesOf, type Locate, type Mistake } from './mistakes.ts';
import { onlyUsed, unusedKeys, withParadigmDefaults } from './paradigm.ts';
import { absolutePaths, changePaths, relative } from './paths.ts';
import { unusedOfPreset, withPreset } from './presets.ts';
import { configSchema, resolveAuto, type Config } from './schema.ts';
import { promptTemplate } from './template.ts';
import { lineOf, readYaml } from './yaml.ts';

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

/** Whether a checked configuration, whose plugins are loaded, may be changed by such overrides. */
export function mayChange(config: Config, overrides: readonly string[]): boolean {
  const document = parseDocument(configToYaml(config));
  for (const each of overrides) applyOverride(document, each, process.cwd());
  try {
    check(document.toJS(), (keys) => keys.join('.'));
    return true;
  } catch (error) {
    if (error instanceof UserError) return false;
    throw error;
  }
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
  if (Object.hasOwn(config.tasks, config.data.task)) {
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

const promptText = (prompt: string | undefined, locate: Locate): string | undefined =>
  prompt === undefined ? undefined : promptTemplate(prompt, locate(['data', 'prompt']));
