/** What operators can filter runs by in Temporal UI; registered by the worker and the API at start. */
export const searchAttributes = {
  state: { name: 'OtpState', type: 'KEYWORD' },
  channel: { name: 'OtpChannel', type: 'KEYWORD' },
  country: { name: 'OtpCountry', type: 'KEYWORD' },
  app: { name: 'OtpApp', type: 'KEYWORD' },
  provider: { name: 'OtpProvider', type: 'KEYWORD' },
} as const
