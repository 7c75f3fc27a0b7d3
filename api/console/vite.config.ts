import { defineConfig } from "vite";

// The gateway serves `dist` itself; during development `vite dev` passes everything else on to a running gateway.
const gateway = process.env["GATEWAY"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  build: { chunkSizeWarningLimit: 1500 },
  server: { proxy: Object.fromEntries(["/v1", "/v3", "/gb"].map((path) => [path, gateway])) },
});
