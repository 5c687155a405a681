import { expect, test } from 'vitest';
import { isRestarted, worldOf } from './world.ts';

const whole = { RANK: '1', WORLD_SIZE: '4', MASTER_ADDR: 'node-0', MASTER_PORT: '29500' };

test('a launcher says which process of how many this is', () => {
  expect(worldOf({})).toBeUndefined();
  expect(worldOf({ RANK: '', MASTER_PORT: ' ' })).toBeUndefined();
  expect(worldOf(whole)).toEqual({ rank: 1, size: 4, localRank: undefined, localSize: undefined, address: 'node-0', port: 29500 }); // prettier-ignore
  expect(worldOf({ ...whole, LOCAL_RANK: '1', LOCAL_WORLD_SIZE: '2' })).toMatchObject({ localRank: 1, localSize: 2 });
});

test.each([
  [{ RANK: '0' }, 'environment: RANK is set, but WORLD_SIZE, MASTER_ADDR and MASTER_PORT not\n  Set all of RANK'],
  [{ ...whole, MASTER_ADDR: ' ' }, 'RANK, WORLD_SIZE and MASTER_PORT are set, but MASTER_ADDR not'],
  [{ ...whole, RANK: '4' }, 'RANK is "4": it is a whole number from 0 to 3 (WORLD_SIZE is 4)'],
  [{ ...whole, RANK: '-1' }, 'RANK is "-1"'],
  [{ ...whole, RANK: '1e0' }, 'RANK is "1e0"'],
  [{ ...whole, WORLD_SIZE: '0' }, 'WORLD_SIZE is "0": it is a whole number from 1 to 65536'],
  [{ ...whole, WORLD_SIZE: '2147483648' }, 'WORLD_SIZE is "2147483648"'],
  [{ ...whole, WORLD_SIZE: '9'.repeat(400) }, 'it is a whole number from 1 to 65536'],
  [{ ...whole, MASTER_PORT: 'http' }, 'MASTER_PORT is "http": it is a whole number from 1 to 65535'],
  [{ ...whole, MASTER_PORT: '65536' }, 'MASTER_PORT is "65536"'],
  [{ ...whole, LOCAL_RANK: '2', LOCAL_WORLD_SIZE: '2' }, 'LOCAL_RANK is "2": it is a whole number from 0 to 1'],
  [{ ...whole, LOCAL_WORLD_SIZE: '8' }, 'LOCAL_WORLD_SIZE is "8": it is a whole number from 1 to 4 (WORLD_SIZE is 4)'],
])('%j is refused', (environment, message) => {
  expect(() => worldOf(environment)).toThrow(expect.objectContaining({ name: 'UserError', message: expect.stringContaining(message) as string })); // prettier-ignore
});

test('a command that was started again goes on', () => {
  expect([{}, { TORCHELASTIC_RESTART_COUNT: '0' }, { SLURM_RESTART_COUNT: '' }].map((each) => isRestarted(each))).toEqual([false, false, false]); // prettier-ignore
  expect([{ TORCHELASTIC_RESTART_COUNT: '2' }, { SLURM_RESTART_COUNT: '1' }].map((each) => isRestarted(each))).toEqual([true, true]); // prettier-ignore
});
