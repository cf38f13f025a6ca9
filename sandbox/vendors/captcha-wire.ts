import { randomBytes } from 'node:crypto'
import express, { type Request, type RequestHandler, type Response, Router } from 'express'
import { z } from 'zod'
import type { VendorParts } from './vendor'

/** What a widget would have shown to somebody, and where. */
export interface SolvedOnPage {
  sitekey: string
  hostname: string
  action: string
  cdata: string
  solvedAt: number
  /** By which call it was taken, and with which key of its own. */
  takenBy?: string
}

const Solve = z.object({
  sitekey: z.string().min(1),
  hostname: z.string().min(1).default('localhost'),
  action: z.string().default(''),
  cdata: z.string().default(''),
  /** So long ago, to play what is too old. */
  age_seconds: z.number().min(0).default(0),
})

const Asked = z.object({
  secret: z.string().optional(),
  response: z.string().optional(),
  remoteip: z.string().optional(),
  sitekey: z.string().optional(),
  idempotency_key: z.string().optional(),
})
export type Asked = z.infer<typeof Asked>

/** One vendor's answer to a token that it knows. */
type Judge = (solved: SolvedOnPage, asked: Asked) => object

/** How a vendor of challenges is played. */
export interface PlayedCaptcha {
  path: string
  tokenPrefix: string
  judge: Judge
}

const kept = 10_000

/**
 * Plays a vendor of challenges: `POST /solve` stands for the widget and the person before it, the vendor's own path for
 * its service.
 */
export function captchaRoutes(
  parts: VendorParts,
  { path, tokenPrefix, judge }: PlayedCaptcha,
): Router {
  const tokens = new Map<string, SolvedOnPage>()
  const router = Router()
  router.post('/solve', express.json(), (req: Request, res: Response) => {
    const { data, error } = Solve.safeParse(req.body ?? {})
    if (!data) {
      res.status(400).json({ message: z.prettifyError(error) })
      return
    }
    const token = tokenPrefix + randomBytes(96).toString('base64url')
    const [oldest] = tokens.keys()
    if (tokens.size >= kept && oldest !== undefined) tokens.delete(oldest)
    const { age_seconds: age, ...shown } = data
    tokens.set(token, { ...shown, solvedAt: Date.now() - age * 1_000 })
    res.json({ token })
  })
  router.post(path, unlessDown(parts), express.urlencoded({ extended: false }), (req, res) => {
    const { data: asked = {} } = Asked.safeParse(req.body ?? {})
    const { SECRET } = parts.settings
    const fault =
      faultOfSecret(asked, SECRET) ?? (asked.response ? undefined : 'missing-input-response')
    if (fault !== undefined) {
      res.json(failed(fault))
      return
    }
    const solved = tokens.get(asked.response ?? '')
    res.json(solved ? judge(solved, asked) : failed('invalid-input-response'))
  })
  return router
}

const faultOfSecret = ({ secret }: Asked, expected: string | undefined): string | undefined => {
  if (!secret) return 'missing-input-secret'
  return secret === expected ? undefined : 'invalid-input-secret'
}

const unlessDown =
  ({ outage }: VendorParts): RequestHandler =>
  (_req, res, next) => {
    const status = outage()
    if (status === undefined) next()
    else res.status(status).type('html').send('<html><body>error</body></html>')
  }

export const failed = (...codes: string[]) => ({ success: false, 'error-codes': codes })

/** As both write the time. */
export const timeOf = ({ solvedAt }: SolvedOnPage): string => new Date(solvedAt).toISOString()
