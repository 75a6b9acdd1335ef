import { availableParallelism } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  completeConfig,
  directIsOn,
  duration,
  flagName,
  isLoopback,
  readConfig,
  readSetting,
  type SettingName,
  settingNames,
  settings,
  startsPerSecond,
} from '../src/config.ts';
import { StartError } from '../src/errors.ts';

function refusal(act: () => unknown): StartError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(StartError);
    return error as StartError;
  }
  throw new Error('It was not refused');
}

describe('Settings', () => {
  test('have the documented defaults', () => {
    expect(readConfig(undefined, {}, {})).toEqual({
      folder: './tasks',
      host: 'localhost',
      port: 8000,
      data: './.spyglass',
      logLevel: 'info',
      logFormat: 'pretty',
      direct: undefined,
      allowHost: [],
      allowOrigin: [],
      rateLimit: undefined,
      graceMs: 20_000,
      concurrency: 100,
      threads: Math.max(4, availableParallelism()),
      keepMs: 30 * 86_400_000,
      keepRuns: 1_000_000,
    });
  });

  test('come from the flag, else from the environment, else from the default', () => {
    const environment = { SPYGLASS_PORT: '9000' };
    expect(readConfig('jobs', { port: '9001' }, environment)).toMatchObject({ folder: 'jobs', port: 9001 });
    expect(readConfig('jobs', {}, environment).port).toBe(9000);
    expect(readConfig('jobs', {}, {}).port).toBe(8000);
  });

  test('take PORT where SPYGLASS_PORT is not set, and never HOST, which shells export', () => {
    expect(readConfig(undefined, {}, { PORT: '9002' }).port).toBe(9002);
    expect(readConfig(undefined, {}, { PORT: '9002', SPYGLASS_PORT: '9003' }).port).toBe(9003);
    expect(readConfig(undefined, {}, { HOST: 'somewhere.example' }).host).toBe('localhost');
  });

  test('pass over an environment variable that is empty', () => {
    expect(readConfig(undefined, {}, { SPYGLASS_PORT: '', PORT: '9004' }).port).toBe(9004);
  });

  test('each have an environment name that follows from the flag', () => {
    for (const name of settingNames) {
      const variable = `SPYGLASS_${flagName(name).slice(2).replaceAll('-', '_').toUpperCase()}`;
      expect(settings[name].environment[0]).toBe(variable);
    }
  });

  test.for<[SettingName, string, unknown]>([
    ['host', '0.0.0.0', '0.0.0.0'],
    ['host', '[::1]', '::1'],
    ['host', '::1', '::1'],
    ['port', '0', 0],
    ['port', '65535', 65_535],
    ['data', './elsewhere', './elsewhere'],
    ['logLevel', 'trace', 'trace'],
    ['logFormat', 'json', 'json'],
    ['direct', 'on', true],
    ['direct', 'off', false],
    ['allowHost', 'Tasks.Example.com', ['tasks.example.com']],
    ['allowHost', 'a.example, b.example', ['a.example', 'b.example']],
    ['allowHost', 'fd00::1', ['[fd00::1]']],
    ['allowOrigin', 'https://App.example.com/', ['https://app.example.com']],
    [
      'allowOrigin',
      'https://a.example,http://localhost:3000',
      ['https://a.example', 'http://localhost:3000'],
    ],
    ['rateLimit', '0', 0],
    ['graceMs', '500ms', 500],
    ['graceMs', '0s', 0],
    ['concurrency', '8', 8],
    ['keepMs', '12h', 43_200_000],
    ['keepRuns', '5000', 5000],
  ])('%s takes %s', ([name, text, value]) => {
    expect(readSetting(name, text, {})).toEqual(value);
  });

  test.for<[SettingName, string]>([
    ['host', 'http://localhost'],
    ['host', 'localhost:80'],
    ['host', ''],
    ['port', '99999'],
    ['port', '-1'],
    ['port', '80a'],
    ['port', '8e3'],
    ['data', ' '],
    ['logLevel', 'loud'],
    ['logFormat', 'xml'],
    ['direct', 'yes'],
    ['allowHost', 'https://a.example'],
    ['allowHost', 'a.example:443'],
    ['allowHost', 'a.example,,b.example'],
    ['allowOrigin', 'a.example'],
    ['allowOrigin', 'https://a.example/path'],
    ['allowOrigin', '*'],
    ['allowOrigin', 'null'],
    ['rateLimit', '1.5'],
    ['graceMs', '20'],
    ['graceMs', '48h'],
    ['concurrency', '0'],
    ['keepMs', 'forever'],
    ['keepRuns', '0'],
  ])('%s refuses "%s", naming the flag, the value and what is allowed', ([name, text]) => {
    const { message, exitCode } = refusal(() => readSetting(name, text, {}));
    expect(message).toBe(`${flagName(name)}: "${text}" is not ${settings[name].allowed}.`);
    expect(exitCode).toBe(2);
  });

  test('name the environment variable when the bad value came from there', () => {
    expect(refusal(() => readConfig(undefined, {}, { PORT: 'http' })).message).toMatch(
      /^PORT: "http" is not a whole number from 0 to 65535\.$/,
    );
  });
});

describe('Durations', () => {
  test.for<[string, number]>([
    ['500ms', 500],
    ['20s', 20_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['30d', 2_592_000_000],
  ])('%s is %d ms', ([text, ms]) => {
    expect(duration(text, Number.MAX_SAFE_INTEGER)).toBe(ms);
  });

  test('need a unit, and stay within the limit', () => {
    expect(duration('20', 1e9)).toBeUndefined();
    expect(duration('20 s', 1e9)).toBeUndefined();
    expect(duration('-20s', 1e9)).toBeUndefined();
    expect(duration('2s', 1999)).toBeUndefined();
  });
});

describe('An address that others can reach', () => {
  test('is refused until direct access is said to be on or off', () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.5', 'tasks.example.com']) {
      const { message, exitCode } = refusal(() => completeConfig({ host }));
      expect(message).toContain(host);
      expect(message).toContain('--direct off');
      expect(exitCode).toBe(2);
      expect(directIsOn(completeConfig({ host, direct: false }))).toBe(false);
      expect(directIsOn(completeConfig({ host, direct: true }))).toBe(true);
    }
  });

  test('is limited to 100 starts a second unless told otherwise; loopback is not', () => {
    expect(startsPerSecond(completeConfig({ host: '0.0.0.0', direct: true }))).toBe(100);
    expect(startsPerSecond(completeConfig({ host: '0.0.0.0', direct: true, rateLimit: 0 }))).toBe(0);
    expect(startsPerSecond(completeConfig({}))).toBe(0);
    expect(startsPerSecond(completeConfig({ rateLimit: 5 }))).toBe(5);
  });

  test('is told from loopback', () => {
    for (const host of ['localhost', 'LOCALHOST', 'a.localhost', '127.0.0.1', '127.9.9.9', '::1']) {
      expect(isLoopback(host), host).toBe(true);
      expect(directIsOn(completeConfig({ host })), host).toBe(true);
    }
    for (const host of ['127.0.0.1.example.com', 'localhost.example.com', '0.0.0.0', '1.2.3.4', '::']) {
      expect(isLoopback(host), host).toBe(false);
    }
  });
});
