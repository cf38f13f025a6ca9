#!/usr/bin/env node
// `npx otpilot …` in a clone: the command line in TypeScript, run as every other entry is.
process.argv.splice(2, 0, 'cli/otpilot.ts')
await import('./bootstrap.mjs')
