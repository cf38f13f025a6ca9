import fc from 'fast-check'

/** What `npm test` draws from: a suite that fails must fail again. `npm run fuzz` draws a fresh one. */
const committedSeed = 20_261_201

export const seed = Number(process.env.OTPILOT_FUZZ_SEED ?? committedSeed)
/** Somebody looks for new faults, and wants the smallest input of each. */
export const isSearch = process.env.OTPILOT_FUZZ_SEED !== undefined

fc.configureGlobal({ seed })

/** fast-check with the seed of this run: no test takes it from the package itself. */
export default fc
