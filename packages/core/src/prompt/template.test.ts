import { expect, test } from 'vitest';
import { Template } from '@huggingface/jinja';
import { UserError } from '../errors.ts';
import { ChatTemplate, messagesSchema, type Message } from './template.ts';

const special = (text: string) => text.includes('<end>');

test('pieces tell messages from control', () => {
  const template = new ChatTemplate(
    '{% for m in messages %}{{ m.role }}:{% for part in m.content %}{{ part.text }}{% endfor %}<end>{% endfor %}',
  );
  const { rendered, pieces } = template.render(
    [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a<end>' },
          { type: 'text', text: 'b' },
        ],
      },
    ],
    special,
  );
  expect(rendered).toBe('user:a<end>b<end>');
  expect(pieces.filter(({ control }) => !control).map(({ text }) => text)).toEqual(['a<end>', 'b']);
});

test('a template that changes messages is taken whole, unless a message holds a special token', () => {
  const template = new ChatTemplate('{% for m in messages %}{{ m.content | upper }}<end>{% endfor %}');
  expect(template.render([{ role: 'user', content: 'a' }], special).pieces).toEqual([
    { text: 'A<end>', control: true },
  ]);
  expect(() => template.render([{ role: 'user', content: 'a<end>' }], special)).toThrow('holds a special token');
});

test.each([
  ['m.content | trim', 'a<end>'],
  ['m.content.strip()', 'a<end>'],
  ["m.content.rstrip('\\n ')", ' a<end>'],
  ['m.content', ' a<end>\n'],
])('of messages that a template strips the rest is as it was typed: %s', (content, text) => {
  const template = new ChatTemplate(`{% for m in messages %}user:{{ ${content} }}<end>{% endfor %}`);
  const messages: Message[] = [' a<end>\n', '', ' \n'].map((each) => ({ role: 'user', content: each }));
  const { rendered, pieces } = template.render(messages, special);
  expect(rendered.startsWith(`user:${text}<end>user:<end>`)).toBe(true);
  expect(pieces.map((piece) => piece.text).join('')).toBe(rendered);
  expect(pieces.filter(({ control }) => !control)).toHaveLength(3);
  expect(pieces[1]).toEqual({ text, control: false });
});

test("errors of a template are the user's to see", () => {
  const template = new ChatTemplate("{{ raise_exception('no system turn') }}");
  expect(() => template.render([{ role: 'user', content: 'a' }], special)).toThrow('no system turn');
});

test('tools and documents are none, as for a template of the reference', () => {
  const template = new ChatTemplate('{% if tools is not none or documents is not none %}tools{% endif %}no');
  expect(template.render([{ role: 'user', content: 'a' }], special).rendered).toBe('no');
});

test('the file of an image stands under several names', () => {
  const read = (part: object) => messagesSchema.parse([{ role: 'user', content: [part] }])[0]?.content;
  const expected = [{ type: 'image', image: 'a.png' }];
  expect(read({ type: 'image', image: 'a.png', max_pixels: 9 })).toEqual(expected);
  expect(read({ type: 'image', url: 'a.png' })).toEqual(expected);
  expect(read({ type: 'image', path: 'a.png' })).toEqual(expected);
  expect(read({ type: 'image_url', image_url: { url: 'a.png' } })).toEqual(expected);
  expect(read({ type: 'image_url', image_url: 'a.png' })).toEqual(expected);
  expect(() => read({ type: 'image' })).toThrow('image, url and path');
  expect(() => read({ type: 'image', image: 'a.png', path: 'b.png' })).toThrow('image, url and path');
});

test.each([
  ['steps', '{% for i in range(60000) %}{% for j in range(60000) %}{{ i }}{% endfor %}{% endfor %}'],
  ['time, with nothing in the loop', '{% for i in range(60000) %}{% for j in range(60000) %}{% endfor %}{% endfor %}'],
  ['memory, by a range', '{{ range(1000000000) | length }}'],
  [
    'memory, by doubling a list',
    '{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor %}',
  ],
  [
    'memory, by doubling a text',
    '{% set n = namespace(l="a") %}{% for i in range(99) %}{% set n.l = n.l ~ n.l %}{% endfor %}',
  ],
  ['depth', '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}'],
])('a template without end is ended: %s', (_, source) => {
  const template = new ChatTemplate(source);
  expect(() => template.render([{ role: 'user', content: 'a' }], special)).toThrow(UserError);
});

test('a template that took too long is not tried again, for every sample', () => {
  const template = new ChatTemplate('{% for i in range(60000) %}{% for j in range(60000) %}{% endfor %}{% endfor %}');
  const seconds = (): number => {
    const started = performance.now();
    expect(() => template.render([{ role: 'user', content: 'a' }], special)).toThrow('it takes more than');
    return performance.now() - started;
  };
  const first = seconds();
  expect(seconds()).toBeLessThan(first / 10);
});

test('what templates find beside the messages is what the library gives them', () => {
  const source = '{{ range(3) }}{{ range(5, 1, -2) }}{{ None is none }}{{ True }}{{ strftime_now("%Y") }}{{ false }}';
  const { rendered } = new ChatTemplate(source).render([{ role: 'user', content: 'a' }], special);
  expect(rendered).toBe(new Template(source).render());
});

test('characters that a template strips are those that it names', () => {
  const strip = (call: string) =>
    new ChatTemplate(`{% set t = " \\n\\n x\\n \\n" %}[{{ t.${call} }}]`).render(
      [{ role: 'user', content: 'a' }],
      special,
    ).rendered;
  expect(strip("strip('\\n')")).toBe('[ \n\n x\n ]');
  expect(strip("strip('\\n ')")).toBe('[x]');
  expect(strip("lstrip(' ')")).toBe('[\n\n x\n \n]');
  expect(strip("rstrip('x\\n ')")).toBe('[]');
  expect(strip('strip()')).toBe('[x]');
});

test('the thought that a template opens at the end of prompts', () => {
  const opening = (end: string) =>
    new ChatTemplate(`{{ messages[0].content }}{% if add_generation_prompt %}<end>${end}{% endif %}`).opening;
  expect(opening('<think>\n')).toBe('<think>\n');
  expect(opening('<think>\n\n</think>\n\n')).toBe('');
  expect(opening('')).toBe('');
});
