// What a caller writes with openapi-typescript and openapi-fetch. Compiled by the test beside the types that are made
// of the document: a member that is wrong or missing here is an error there.
import createClient from 'openapi-fetch'
import type { paths } from './schema.d.ts'

const [, , baseUrl = '', key = '', inbox = '', phone = ''] = process.argv
const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${key}` } })

const sent = await client.POST('/otp/send', { body: { phone_number: phone, channel: 'sms' } })
if (!sent.data) throw new Error(`send: ${sent.error.error_code}`)
const { request_id } = sent.data

async function readCode(): Promise<string> {
  for (;;) {
    const response = await fetch(`${inbox}/inbox?to=${encodeURIComponent(phone)}`)
    const [message] = (await response.json()) as { code: string }[]
    if (message) return message.code
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
const code = await readCode()
const other = code === '135790' ? '246801' : '135790'

const wrong = await client.POST('/otp/verify', { body: { request_id, code: other } })
if (wrong.data?.status !== 'rejected') throw new Error('a wrong code was not rejected')
const right = await client.POST('/otp/verify', { body: { phone_number: phone, code } })
if (right.data?.status !== 'verified') throw new Error('the right code was not verified')
const read = await client.GET('/otp/{request_id}', { params: { path: { request_id } } })
if (!read.data) throw new Error(`read: ${read.error.error_code}`)

console.log(
  [
    sent.data.status,
    wrong.data.error_code,
    wrong.data.attempts_remaining,
    right.data.assurance,
    read.data.state,
  ].join(' '),
)
