// What a caller writes with the client that openapi-generator makes for typescript-fetch.
import { Channel, Configuration, OTPApi } from './index'

const [, , basePath = '', accessToken = '', inbox = '', phone = ''] = process.argv
const api = new OTPApi(new Configuration({ basePath, accessToken }))

const sent = await api.sendOtp({ sendBody: { phoneNumber: phone, channel: Channel.Sms } })
const { requestId } = sent

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

const wrong = await api.verifyOtp({ verifyBody: { requestId, code: other } })
if (wrong.status !== 'rejected') throw new Error('a wrong code was not rejected')
const right = await api.verifyOtp({ verifyBody: { phoneNumber: phone, code } })
if (right.status !== 'verified') throw new Error('the right code was not verified')
const read = await api.readOtp({ requestId })

console.log(sent.status, wrong.errorCode, wrong.attemptsRemaining, right.assurance, read.state)
