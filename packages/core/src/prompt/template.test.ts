import { expect, test } from 'vitest';
import { ChatTemplate } from './template.ts';

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
  const template = new ChatTemplate('{% for m in messages %}{{ m.content | trim }}<end>{% endfor %}');
  expect(template.render([{ role: 'user', content: ' a ' }], special).pieces).toEqual([
    { text: 'a<end>', control: true },
  ]);
  expect(() => template.render([{ role: 'user', content: ' a<end> ' }], special)).toThrow('holds a special token');
});

test("errors of a template are the user's to see", () => {
  const template = new ChatTemplate("{{ raise_exception('no system turn') }}");
  expect(() => template.render([{ role: 'user', content: 'a' }], special)).toThrow('no system turn');
});
