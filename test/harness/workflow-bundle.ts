/** The workflow bundle that the run's global setup makes once for every test file. */
export const bundlePath = (): string => {
  const path = process.env.OTPILOT_TEST_WORKFLOW_BUNDLE
  if (!path) throw new Error('OTPILOT_TEST_WORKFLOW_BUNDLE is not set: run the tests with jest.')
  return path
}
