import { useState } from 'react';
import { ask } from '../api.ts';
import { ModelText, Notice } from '../parts/basics.tsx';
import { Picture, Places } from '../parts/picture.tsx';
import type { Corners, Run, Said, Sample, Spot } from '../types.ts';

interface Tried {
  readonly width: number;
  readonly height: number;
  readonly answers: readonly (Said & {
    readonly name: string;
    readonly boxes: readonly Corners[];
    readonly points: readonly Spot[];
  })[];
}

/** Bytes of a picture that is sent. */
const LARGEST_FILE = 16 << 20;

export function Try({ run }: { run: Run }) {
  const [problem, setProblem] = useState('');
  const [file, setFile] = useState<File>();
  const [url, setUrl] = useState<string>();
  const [tried, setTried] = useState<Tried>();
  const [fault, setFault] = useState<string>();
  const [isAsking, setAsking] = useState(false);
  const take = (chosen: File | undefined): void => {
    if (!chosen) return;
    if (chosen.size > LARGEST_FILE) {
      setFault(`${chosen.name} has more than ${LARGEST_FILE >> 20} MiB: make it smaller.`);
      return;
    }
    if (url !== undefined) URL.revokeObjectURL(url);
    setFile(chosen);
    setUrl(URL.createObjectURL(chosen));
    setTried(undefined);
    setFault(undefined);
  };
  const submit = async (): Promise<void> => {
    if (!file) return;
    setAsking(true);
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      let text = '';
      for (let at = 0; at < bytes.length; at += 32_768) text += String.fromCharCode(...bytes.subarray(at, at + 32_768));
      setTried(await ask<Tried>(`runs/${run.id}/try`, { problem, image: btoa(text) }));
      setFault(undefined);
    } catch (reason) {
      setFault(String(reason instanceof Error ? reason.message : reason));
    } finally {
      setAsking(false);
    }
  };
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
        <button type="submit" disabled={!file || problem === '' || isAsking}>
          {isAsking ? 'asking …' : 'ask'}
        </button>
      </form>
      {fault !== undefined && <Notice title={fault} isFault />}
      {!tried && (
        <Notice title="The base and the trained model answer side by side.">
          Asked as this run asks: its template, its pixels; boxes in pixels of your picture. The first question loads
          both models.
        </Notice>
      )}
      <div className="answers">
        {tried?.answers.map(({ name, text, boxes, points }) => {
          const images = [{ width: tried.width, height: tried.height }];
          const sample: Sample = {
            id: name,
            problem,
            task: '',
            prompt: '',
            images,
            solution: '',
            boxes: [],
            points: [],
          };
          return (
            <article key={name}>
              <h2>{name}</h2>
              <Picture run={run.id} sample={sample} url={url} marks={[{ name, kind: 'now', boxes, points }]} />
              <ModelText text={text} thought="show" />
              <Places boxes={boxes} points={points} />
            </article>
          );
        })}
      </div>
    </>
  );
}
