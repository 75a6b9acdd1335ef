/**
 * Lets task files that go through tsx share the packages that are loaded already.
 *
 * tsx gives what it loads, and all that comes of it, a namespace of its own, so that zod and this very package would be
 * loaded a second time: measured, 20 MB and a second of every start.
 */
import * as module from 'node:module';

/** The slice of Node's module hooks that is used (https://nodejs.org/api/module.html#customization-hooks). */
interface ResolveContext {
  parentURL?: string | undefined;
}
interface Resolved {
  url: string;
}
type NextResolve = (specifier: string, context: ResolveContext) => Resolved | Promise<Resolved>;
type RegisterHooks = (hooks: { resolve: typeof resolvePackage }) => void;

/** To be called once tsx is registered: of all hooks, the latest is asked first. */
export function sharePackages(): void {
  // Node has it from 22.15 on; what came before it runs hooks in a thread, from a module of their own.
  const { registerHooks } = module as { registerHooks?: RegisterHooks };
  if (registerHooks) registerHooks({ resolve: resolvePackage });
  else
    module.register(`data:text/javascript,${encodeURIComponent(`export const resolve = ${resolvePackage}`)}`);
}

/**
 * What a task file imports from a package is resolved as if tsx were not there. tsx keeps what is TypeScript, such as a
 * package of the same workspace, and what only it can find: the `paths` of a `tsconfig.json`.
 *
 * It refers to nothing outside of itself, as its text may be all that there is of it.
 */
function resolvePackage(specifier: string, context: ResolveContext, next: NextResolve) {
  const { parentURL } = context;
  const isPackage = /^[^./#]/.test(specifier) && !specifier.includes(':');
  if (!isPackage || !parentURL?.includes('tsx-namespace=')) return next(specifier, context);

  // Node 20 writes what `next` is given into the very context that it gave.
  const asked = { ...context };
  const throughTsx = () => next(specifier, asked);
  const keep = (found: Resolved) => (/\.[cm]?tsx?$/.test(found.url) ? throughTsx() : found);
  try {
    const found = next(specifier, { ...context, parentURL: parentURL.replace(/\?.*$/, '') });
    return found instanceof Promise ? found.then(keep, throughTsx) : keep(found);
  } catch {
    return throughTsx();
  }
}
