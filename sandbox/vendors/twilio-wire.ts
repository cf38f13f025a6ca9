import { createHmac, randomUUID } from 'node:crypto'
import type { RequestHandler, Response } from 'express'
import type { Delivery } from '../callbacks'

/** Twilio's error body. */
export function refuse(
  res: Response,
  { status, code, message }: { status: number; code: number; message: string },
) {
  const more_info = `https://www.twilio.com/docs/errors/${code}`
  res.status(status).json({ code, message, more_info, status })
}

/** HTTP Basic by the account and one of its tokens, or by its API key. */
export function basicAuth(settings: Readonly<Record<string, string | undefined>>): RequestHandler {
  const {
    ACCOUNT_SID: account,
    AUTH_TOKEN = '',
    API_KEY_SID: key,
    API_KEY_SECRET: secret,
  } = settings
  const logins = [
    ...AUTH_TOKEN.split(' ').map((token) => account && token && `${account}:${token}`),
    key && secret && `${key}:${secret}`,
  ].filter((login) => login !== undefined && login !== '')
  const allowed = new Set(logins.map((login) => `Basic ${btoa(String(login))}`))
  return (req, res, next) => {
    if (!allowed.has(req.headers.authorization ?? ''))
      return refuse(res, { status: 401, code: 20003, message: 'Authenticate' })
    const named = /^\/2010-04-01\/Accounts\/(\w+)/.exec(req.path)?.[1]
    if (named === undefined || named === account) return next()
    const message = 'The requested resource was not found'
    refuse(res, { status: 404, code: 20404, message })
  }
}

export const newSid = (kind: string) => kind + randomUUID().replaceAll('-', '')

/** RFC 2822, as all of Twilio's times. */
export const timeNow = () => new Date().toUTCString().replace('GMT', '+0000')

/** A form POST to the product, signed over its address and fields with the account's token. */
export function signedForm(
  url: string,
  fields: Record<string, string>,
  token: string,
): Required<Delivery> {
  const tail = Object.keys(fields)
    .sort()
    .map((name) => name + fields[name])
    .join('')
  return {
    url,
    headers: {
      'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
      'x-twilio-signature': createHmac('sha1', token)
        .update(url + tail)
        .digest('base64'),
      'i-twilio-idempotency-token': randomUUID(),
    },
    body: new URLSearchParams(fields).toString(),
  }
}

/** What a script says, and where it sends the key that it asks for. */
export function readScript(script: string): { says: string; asksAt: string | undefined } {
  const says = [...script.matchAll(/<Say[^>]*>([^]*?)<\/Say>/g)].map(([, inside = '']) =>
    unescaped(inside.replace(/<[^>]+>/g, '')),
  )
  const action = /<Gather[^>]* action="([^"]+)"/.exec(script)?.[1]
  return { says: says.join(' '), asksAt: action && unescaped(action) }
}

const unescaped = (text: string) =>
  text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
