import { registerHooks } from 'node:module';

/**
 * For Node, before anything imports drizzle: `node --import ./src/fast-imports.ts …`. For each of drizzle's hundred modules, Node
 * parses the `exports` of drizzle's package.json again, all 170 kB of it, to tell what kind of module it is, which takes most of
 * the time that the app takes to start. A bundle has no need of this.
 */
registerHooks({
  resolve(specifier, context, nextResolve) {
    const { parentURL = '' } = context;
    const isOwn =
      /\/node_modules\/drizzle-orm\/(?!.*\/node_modules\/).*\.js$/.test(parentURL) &&
      /^\.{1,2}\/.*\.js$/.test(specifier);
    if (!isOwn) return nextResolve(specifier, context);
    return { url: new URL(specifier, parentURL).href, format: 'module', shortCircuit: true };
  },
});
