import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
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

export default defineConfig({
  plugins: [react(), compressed()],
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
