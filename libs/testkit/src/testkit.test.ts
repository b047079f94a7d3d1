import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { createTestMesh, eventually, FakeClock } from './index.ts';

async function greeting(port: number, send: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(send);
  for await (const bytes of socket) return String(bytes);
  return '';
}

test('a mesh has the stores asked for, keeps their ports over a crash, and leaves nothing behind', async () => {
  const mesh = await createTestMesh({ stores: ['redis', 'nats'] });
  expect(Object.keys(mesh.env)).toEqual(['MILLRACE_REDIS_URL', 'MILLRACE_NATS_URL']);
  expect(() => mesh.clickhouse).toThrow(/was not asked for/);
  const { redis, nats } = mesh;
  expect(await greeting(redis.port, 'PING\r\n')).toBe('+PONG\r\n');
  expect(await greeting(nats.port, '')).toMatch(/"max_payload":8388608,"jetstream":true/);
  const before = [redis.port, nats.port];
  await Promise.all([redis.kill9(), nats.kill9()]);
  await Promise.all([redis.restart(), nats.restart()]);
  expect([redis.port, nats.port]).toEqual(before);
  expect(await greeting(redis.port, 'PING\r\n')).toBe('+PONG\r\n');
  const pids = [redis.pid, nats.pid];
  await mesh.close();
  await mesh.close();
  expect(existsSync(mesh.dir)).toBe(false);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
});

test('eventually returns the first good answer, and throws the last error at the deadline', async () => {
  let asked = 0;
  expect(await eventually(() => (++asked < 3 ? false : asked))).toBe(3);
  const never = () => {
    throw new Error('not yet');
  };
  await expect(eventually(never, { timeoutMs: 60 })).rejects.toThrow('not yet');
});

test('a fake clock moves when told', () => {
  const clock = new FakeClock(5);
  clock.advanceMs(2);
  clock.advanceUs(1);
  expect(clock.nowUs()).toBe(2_006);
  clock.setUs(0);
  expect(clock.nowUs()).toBe(0);
});
