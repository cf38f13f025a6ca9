import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

const der = (tag: number, ...parts: Buffer[]): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...parts: Buffer[]) => der(0x30, ...parts)
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'))
const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))
const utcTime = (at: Date) =>
  der(0x17, Buffer.from(at.toISOString().replace(/^20|[-:T]|\.\d+/g, '')))
const name = (text: string) =>
  sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(text)))))

const hour = 3_600_000

/** A certificate for 127.0.0.1, signed by itself: PEM of it and of its key. */
export function selfSigned({ from = -hour, to = hour, serial = 1 } = {}) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const now = Date.now()
  const subjectAltName = sequence(
    sequence(oid('551d11'), der(0x04, sequence(der(0x87, Buffer.from([127, 0, 0, 1]))))),
  )
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([serial])),
    ecdsaWithSha256,
    name(`otpilot test ${serial}`),
    sequence(utcTime(new Date(now + from)), utcTime(new Date(now + to))),
    name(`otpilot test ${serial}`),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, subjectAltName),
  )
  const signature = der(0x03, Buffer.from([0]), sign('sha256', body, privateKey))
  return {
    cert: pem(sequence(body, ecdsaWithSha256, signature)),
    key: pemOf(privateKey),
  }
}

const pem = (bytes: Buffer) =>
  `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`
const pemOf = (key: KeyObject) => String(key.export({ type: 'pkcs8', format: 'pem' }))
