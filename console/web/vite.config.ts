import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import postcss, { type Container } from 'postcss';
import { defineConfig, type Plugin } from 'vite';

// The binary embeds what compresses well in its compressed form alone: browsers take it
// as it is, and the handler unpacks it for whoever does not.
function compressed(): Plugin {
  let out = '';
  return {
    name: 'moneta-compressed',
    apply: 'build',
    configResolved(c) {
      out = join(c.root, c.build.outDir);
    },
    closeBundle() {
      const visit = (dir: string) => {
        for (const name of readdirSync(dir)) {
          const file = join(dir, name);
          if (statSync(file).isDirectory()) visit(file);
          else if (/\.(js|css|svg|json)$/.test(name)) {
            writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
            rmSync(file);
          }
        }
      };
      visit(out);
    },
  };
}

// Mantine's style sheet has the rules of all its components; those whose class no script of
// this build mentions are taken out, which is most of it.
function onlyUsedStyles(): Plugin {
  return {
    name: 'moneta-only-used-styles',
    apply: 'build',
    enforce: 'post',
    generateBundle(_, bundle) {
      const used = new Set<string>();
      for (const f of Object.values(bundle)) if (f.type === 'chunk') for (const m of f.code.matchAll(/m_[0-9a-f]{3,8}/g)) used.add(m[0]);
      const unused = (selector: string) => [...selector.matchAll(/\.(m_[0-9a-f]{3,8})/g)].some((m) => !used.has(m[1] as string));
      for (const f of Object.values(bundle)) {
        if (f.type !== 'asset' || !f.fileName.endsWith('.css')) continue;
        const root = postcss.parse(String(f.source));
        root.walkRules((rule) => {
          const kept = rule.selectors.filter((s) => !unused(s));
          if (kept.length === 0) {
            let at: Container | undefined = rule.parent as Container | undefined;
            rule.remove();
            while (at && at.type !== 'root' && at.nodes?.length === 0) {
              const up = at.parent as Container | undefined;
              at.remove();
              at = up;
            }
          } else if (kept.length < rule.selectors.length) rule.selectors = kept;
        });
        f.source = root.toString();
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), onlyUsedStyles(), compressed()],
  build: {
    outDir: 'dist',
    target: 'es2022',
    // These know light-dark(), which the styles use.
    cssTarget: ['chrome123', 'edge123', 'firefox120', 'safari17.5'],
    // The policy of the page allows no data: scripts or fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  server: {
    // `npm run dev` beside a running `moneta up`.
    proxy: { '/api': { target: process.env.MONETA_CONSOLE ?? 'http://127.0.0.1:7072', headers: { Origin: '' } } },
  },
});
