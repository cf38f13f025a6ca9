import { createProviders, type AccountConfig } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { type Message, type ProviderAccount, ProviderFault } from '../../providers/provider'
import { startRecorder } from './recorder'

export const testMessage: Message = {
  requestId: 'otp_abc',
  attemptId: 'att_1',
  channel: 'sms',
  to: '+233241234567',
  code: '482913',
  text: 'Your Acme code is 482913.',
  locale: 'en',
  brand: 'Acme',
  callbackUrl: 'https://otp.example.com/webhooks/provider/token',
  validForSeconds: 290,
  notAfter: Infinity,
}

export const inTime = () => AbortSignal.timeout(5_000)

/** What a call to an adapter came to. */
export const outcomeOf = (work: Promise<unknown>) =>
  work.then(
    (sent) => ({ sent }),
    (error: unknown) => {
      if (!(error instanceof ProviderFault)) throw error
      return { fault: error.fault, message: error.message }
    },
  )

/** An answer as a test says it: JSON, unless it is a text. */
export interface Said {
  status?: number
  headers?: Record<string, string>
  body?: unknown
}

/** One account, pointed at a provider that answers as the test says and keeps what it was asked. */
export async function adapterRig(config: AccountConfig, variables: Variables) {
  const { calls, url, close, answerWith } = await startRecorder()
  const base = `${config.name.toUpperCase().replaceAll('-', '_')}_BASE_URL`
  return {
    calls,
    close,
    answer: ({ body = '', ...said }: Said) =>
      answerWith(() => ({ ...said, body: typeof body === 'string' ? body : JSON.stringify(body) })),
    accountWith: (more: Variables = {}, given: Partial<AccountConfig> = {}): ProviderAccount => {
      const all = { ...variables, [base]: `${url}/`, ...more }
      const account = createProviders([{ ...config, ...given }], all).get(config.name)
      if (!account) throw new Error('The account is left out.')
      return account
    },
  }
}

/** The text with the last bit of its last letter turned. */
export const flipped = (text: string): string =>
  text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) ^ 1)
