import type { AccountConfig } from '../../providers'

export const metaConfig: AccountConfig = {
  name: 'meta',
  adapter: 'meta',
  channels: ['whatsapp'],
  test: false,
}
/** Signs callbacks. */
export const appSecret = '0123456789abcdef0123456789abcdef'
export const phoneId = '106540352242922'
export const metaVariables = {
  META_ACCESS_TOKEN: 'EAAG-token',
  META_PHONE_NUMBER_ID: phoneId,
  META_APP_SECRET: appSecret,
  META_VERIFY_TOKEN: 'words-of-our-own',
  META_TEMPLATE: 'otp_code',
  META_TEMPLATE_LANGUAGES: 'fr,en_US,pt_BR',
}

/** Written down once more, against a slip in the table: providers.md section 3. */
const numbers = (text: string) => text.split(' ').map(Number)
const faults = {
  invalid_number: numbers('131026 131021'),
  blocked: numbers('131050'),
  throttled: numbers('131056 130429 80007 4 133016'),
  unavailable: numbers('1 2 131000 131016 131057 133004'),
  unroutable: numbers('131049 130472 130497 131030 131051 131052 131053 100 131009'),
  config: [
    ...numbers('0 190 10 200 250 299 131008 131031 368 131042 131045 133010'),
    ...numbers('3 33 131005 131037 133005 133006 133008 133009 133015'),
    ...numbers('131047 131048 132000 132001 132005 132007 132012 132015 132016'),
  ],
}
export const statusOfFault = {
  invalid_number: 'failed.permanent',
  blocked: 'failed.permanent',
  throttled: 'failed.retryable',
  unavailable: 'failed.retryable',
  unroutable: 'failed.retryable',
  config: 'failed.config',
}
/** Codes and what they mean in the answer to a send. */
export const codeRows = Object.entries(faults).flatMap(([fault, codes]) =>
  codes.map((code) => [code, fault] as const),
)
