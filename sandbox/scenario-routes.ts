import { Router } from 'express'
import { reservedNumbers } from './numbers'
import { Problem, parse } from './problem'
import { Script } from './scenario'
import type { Scenarios } from './scenarios'
import { accountPattern, readAddress } from './words'

/** Scripting of numbers and providers. */
export function scenarioRoutes(scenarios: Scenarios) {
  const router = Router()

  router.get('/numbers', (_req, res) => {
    res.json(reservedNumbers)
  })
  router.get('/scenarios', (_req, res) => {
    res.json(scenarios.list())
  })
  router.put('/scenarios/:key', (req, res) => {
    const key = readKey(req.params.key)
    const script = parse(Script, req.body)
    const rules = Array.isArray(script) ? script : [script]
    scenarios.put(key, rules)
    res.json({ key, rules })
  })
  router.delete('/scenarios', (_req, res) => {
    scenarios.clear()
    res.status(204).end()
  })
  router.delete('/scenarios/:key', (req, res) => {
    if (!scenarios.remove(readKey(req.params.key))) {
      throw new Problem(404, 'NOT_FOUND', 'This number or provider has no script.')
    }
    res.status(204).end()
  })

  return router
}

function readKey(raw: string): string {
  const key = accountPattern.test(raw) ? raw : readAddress(raw)
  if (key !== undefined) return key
  throw new Problem(
    400,
    'INVALID_REQUEST',
    'Script a phone number, an e-mail address or a provider.',
  )
}
