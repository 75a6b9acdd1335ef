/**
 * Who may talk to the server from where: the `Host` and `Origin` checks that keep a web page somewhere else from using a
 * server on this machine. They run before anything else, on every route and every upgrade.
 */
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { type Config, isLoopback } from './config.ts';
import { RequestError, shown } from './errors.ts';

/** RFC 1035, section 2.3.4: the 255 octets of a name are so many characters. */
const longestName = 253;

export class Guard {
  readonly #allowedNames: ReadonlySet<string>;
  readonly #allowedOrigins: ReadonlySet<string>;
  readonly #onLoopback: boolean;
  /** `Host` headers that were found good, as they were sent: nearly every request has one of a few. */
  readonly #goodHosts = new Set<string>();

  constructor(config: Pick<Config, 'host' | 'allowHost' | 'allowOrigin'>) {
    this.#onLoopback = isLoopback(config.host);
    this.#allowedNames = new Set([config.host, ...config.allowHost].map((name) => name.toLowerCase()));
    this.#allowedOrigins = new Set(config.allowOrigin);
  }

  /** Whether any foreign origin is allowed, so that answers depend on the `Origin` they are for. */
  get knowsOrigins(): boolean {
    return this.#allowedOrigins.size > 0;
  }

  /** Throws a `RequestError` when the request comes from where it may not. */
  check(request: IncomingMessage): void {
    const host = requestedHost(request);
    if (!this.#goodHosts.has(host)) this.#checkHost(host);
    const { origin } = request.headers;
    if (origin === undefined) {
      if (request.headers['sec-fetch-site'] !== undefined) refuseForeignSite(request);
    } else if (!this.#allowedOrigins.has(origin)) {
      refuseForeignSite(request);
      if (!isSameOrigin(origin, host)) throw foreignOrigin(`the Origin ${shown(origin)}`);
    }
  }

  /** The request's `Origin` when it is a foreign one that was allowed. */
  allowedOrigin(request: IncomingMessage): string | undefined {
    const { origin } = request.headers;
    return origin !== undefined && this.#allowedOrigins.has(origin) ? origin : undefined;
  }

  #checkHost(host: string): void {
    const [, name] = /^(\[[0-9a-f:.]+\]|[^\s:/@[\]]+)(?::\d{1,5})?$/i.exec(host) ?? [];
    if (name === undefined || name.length > longestName)
      throw new RequestError('bad-request', `The Host header ${shown(host)} is not a host name.`);
    if (!this.#isServed(name.toLowerCase())) {
      throw new RequestError(
        'foreign-host',
        `This server does not answer to the name ${shown(name)}. If it should, start it with --allow-host ${name}.`,
      );
    }
    if (this.#goodHosts.size >= 1000) this.#goodHosts.clear();
    this.#goodHosts.add(host);
  }

  /**
   * A page that rebinds its own DNS name to this machine still sends that name, so names must be known. It cannot pose as
   * `localhost` or as an address; on loopback, though, only loopback addresses make sense.
   */
  #isServed(name: string): boolean {
    if (this.#allowedNames.has(name)) return true;
    const address = name.startsWith('[') ? name.slice(1, -1) : name;
    return isLoopback(address) || (!this.#onLoopback && isIP(address) !== 0);
  }
}

/** RFC 9112, section 3.2: an absolute request target takes the place of the header, and one of them there must be. */
function requestedHost(request: IncomingMessage): string {
  const target = request.url ?? '/';
  if (target.charCodeAt(0) !== 0x2f && URL.canParse(target)) return new URL(target).host;
  const { host } = request.headers;
  if (host === undefined) throw new RequestError('bad-request', 'The request has no Host header. Send one.');
  return host;
}

/**
 * Browsers say in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/) where a request comes from, also where they leave
 * `Origin` out. Reading may be linked to; changing something, or watching, may not.
 */
function refuseForeignSite(request: IncomingMessage): void {
  const site = request.headers['sec-fetch-site'];
  if (site !== 'cross-site' && site !== 'same-site') return;
  if (isUpgrade(request) || !isReading(request.method)) throw foreignOrigin('a page of another site');
}

/** Whether Node has taken the request for an upgrade and handed its socket over. */
export function isUpgrade(request: IncomingMessage): boolean {
  return (request as { upgrade?: boolean }).upgrade === true;
}

function isReading(method: string | undefined): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}

function isSameOrigin(origin: string, host: string): boolean {
  if (!/^https?:\/\//i.test(origin) || !URL.canParse(origin)) return false;
  const { protocol, host: originHost } = new URL(origin);
  // Parsed alike, so that a port which is the scheme's default compares equal to none.
  return URL.canParse(`${protocol}//${host}`) && new URL(`${protocol}//${host}`).host === originHost;
}

function foreignOrigin(who: string): RequestError {
  return new RequestError(
    'foreign-origin',
    `This request comes from ${who}, which may not use this server. If it should, start the server with --allow-origin.`,
  );
}
