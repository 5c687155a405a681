import { useEffect, useReducer, useRef, useState } from 'react';
import { listen } from '../api.ts';
import { ModelText, Notice, number } from '../parts/basics.tsx';
import { Picture, Places } from '../parts/picture.tsx';
import type { Model, Run, Said, Sample, TryWord } from '../types.ts';

/** How far a model has come with a question. */
interface Voice {
  readonly state: 'loading' | 'answering' | 'done' | 'none';
  /** What it has said so far, or why it says nothing. */
  readonly text: string;
  readonly said?: Said;
  readonly seconds?: number;
}

interface Asked {
  readonly size?: { readonly width: number; readonly height: number };
  readonly voices: Readonly<Partial<Record<Model, Voice>>>;
}

type Line = TryWord | { readonly kind: 'failed'; readonly message: string };

function heard(asked: Asked, word: TryWord | undefined): Asked {
  if (word === undefined) return { voices: {} };
  if (word.kind === 'picture') return { ...asked, size: word };
  const { model } = word;
  const before = asked.voices[model] ?? { state: 'loading', text: '' };
  return { ...asked, voices: { ...asked.voices, [model]: voiced(before, word) } };
}

function voiced(before: Voice, word: Exclude<TryWord, { kind: 'picture' }>): Voice {
  switch (word.kind) {
    case 'state':
      return { state: word.state, text: '' };
    case 'text':
      return { ...before, text: before.text + word.text };
    case 'answer':
      return { state: 'done', text: word.text, said: word, seconds: word.seconds };
    case 'none':
      return { state: 'none', text: word.reason };
  }
}

/** Bytes of a picture that is sent. */
const LARGEST_FILE = 16 << 20;

async function base64(file: File): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 32_768) text += String.fromCharCode(...bytes.subarray(at, at + 32_768));
  return btoa(text);
}

export function Try({ run }: { run: Run }) {
  const [problem, setProblem] = useState('');
  const [file, setFile] = useState<File>();
  const [url, setUrl] = useState<string>();
  const [asked, hear] = useReducer(heard, { voices: {} });
  const [fault, setFault] = useState<string>();
  const [isAsking, setAsking] = useState(false);
  const stop = useRef<AbortController>(undefined);
  useEffect(() => () => stop.current?.abort(), []);
  const take = (chosen: File | undefined): void => {
    if (!chosen) return;
    if (chosen.size > LARGEST_FILE) {
      setFault(`${chosen.name} has more than ${LARGEST_FILE >> 20} MiB: make it smaller.`);
      return;
    }
    if (url !== undefined) URL.revokeObjectURL(url);
    setFile(chosen);
    setUrl(URL.createObjectURL(chosen));
    hear(undefined);
    setFault(undefined);
  };
  const submit = async (): Promise<void> => {
    if (!file) return;
    const stopping = new AbortController();
    stop.current = stopping;
    setAsking(true);
    setFault(undefined);
    hear(undefined);
    try {
      const image = await base64(file);
      await listen(`runs/${run.id}/try`, { problem, image }, stopping.signal, (word) => {
        const line = word as Line;
        if (line.kind === 'failed') setFault(line.message);
        else hear(line);
      });
    } catch (reason) {
      if (!stopping.signal.aborted) setFault(String(reason instanceof Error ? reason.message : reason));
    } finally {
      setAsking(false);
    }
  };
  const { size, voices } = asked;
  return (
    <>
      <form
        className="tools"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
        onDragOver={(event) => {
          event.preventDefault();
        }}
        onDrop={(event) => {
          event.preventDefault();
          take(event.dataTransfer.files[0]);
        }}
      >
        <label className="drop">
          <span>{file ? file.name : 'drop a picture here, or choose one'}</span>
          <input
            type="file"
            accept="image/*"
            onChange={(event) => {
              take(event.target.files?.[0]);
            }}
          />
        </label>
        <label>
          <span>what to ask</span>
          <input
            value={problem}
            placeholder="red circle"
            onChange={(event) => {
              setProblem(event.target.value);
            }}
          />
        </label>
        <button type="submit" className="primary" disabled={!file || problem === '' || isAsking}>
          {isAsking ? 'asking …' : 'ask'}
        </button>
        {isAsking && (
          <button type="button" onClick={() => stop.current?.abort()}>
            stop
          </button>
        )}
      </form>
      {fault !== undefined && <Notice title={fault} isFault />}
      {!size && (
        <Notice title="The base and the trained model answer side by side.">
          Asked as this run asks: its template, its pixels; boxes in pixels of your picture. The first question loads
          both models, later ones are answered at once.
        </Notice>
      )}
      {size && (
        <div className="answers wide">
          {(['base', 'trained'] as const).map((model) => (
            <Answer key={model} run={run} model={model} voice={voices[model]} size={size} url={url} problem={problem} />
          ))}
        </div>
      )}
    </>
  );
}

interface AnswerProps {
  readonly run: Run;
  readonly model: Model;
  readonly voice: Voice | undefined;
  readonly size: { readonly width: number; readonly height: number };
  readonly url: string | undefined;
  readonly problem: string;
}

function Answer({ run, model, voice, size, url, problem }: AnswerProps) {
  const { state = 'loading', text = '', said, seconds } = voice ?? {};
  const nothing = { id: model, problem, task: '', prompt: '', solution: '', boxes: [], points: [] };
  const sample: Sample = { ...nothing, images: [size] };
  const marks = said ? [{ name: model, kind: 'now' as const, boxes: said.boxes, points: said.points }] : [];
  const states = {
    loading: 'loading the model …',
    answering: 'answering …',
    done: `answered in ${number(seconds)} s`,
    none: 'cannot be asked',
  };
  return (
    <article aria-busy={state === 'loading' || state === 'answering'}>
      <div className="memberhead">
        <h2>{model === 'base' ? 'base, before training' : 'trained, best checkpoint'}</h2>
        <small role="status">{states[state]}</small>
      </div>
      <Picture run={run.id} sample={sample} url={url} marks={marks} size={640} />
      {said && <Places boxes={said.boxes} points={said.points} />}
      <ModelText text={text} thought="show" />
    </article>
  );
}
