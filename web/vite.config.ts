// How the page is built. Everything is relative, so it works from any folder of any host; nothing is inlined, so a strict
// content security policy holds. It is one script and one style, which a report puts into its one file.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  plugins: [svelte()],
  build: {
    outDir: "../src/cellglass/explorer/page",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    cssCodeSplit: false,
    rolldownOptions: { output: { codeSplitting: false } },
  },
});
