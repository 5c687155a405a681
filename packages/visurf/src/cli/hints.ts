/** Options that other trainers' commands have, where a configuration says here what they say. */
import type { Command } from 'commander';
import { hintText, peerHint } from '@visurf/core/peers';

/** Adds to the error for an unknown option which key of the configuration is meant. */
export function withKeyHints(command: Command): Command {
  return command.configureOutput({
    outputError: (text, write) => {
      const [, option] = /unknown option '--?([^'=]+)/.exec(text) ?? [];
      write(text + (option === undefined ? '' : hintFor(command.name(), option)));
    },
  });
}

function hintFor(command: string, option: string): string {
  if (option === 'config') return `The configuration is an argument: visurf ${command} config.yaml\n`;
  const hint = peerHint(option.split('.'));
  if (hint === undefined) return '';
  return `${hintText(hint)}${hint.key === undefined ? '' : ' Keys are given as key=value.'}\n`;
}
