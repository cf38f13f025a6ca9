import { dirname, join } from 'node:path'
import { Router } from 'express'

interface SignUpParts {
  apiUrl: () => string
  publishableKey: string | undefined
}

/** What the widget is made of, out of its package: a page that forbids code from strings loads each as a file. */
const widgetFiles = {
  'altcha.js': ['external', 'altcha.min.js'],
  'altcha.css': ['external', 'altcha.css'],
  'pbkdf2.js': ['workers', 'pbkdf2.js'],
} as const

/** A website's sign-up form: it calls the API from the browser, as pages with a publishable key do. */
export function signUpRoutes({ apiUrl, publishableKey }: SignUpParts) {
  const router = Router()
  const packageFolder = join(dirname(require.resolve('altcha/external')), '..')

  router.get('/sign-up.html', (_req, res, next) => {
    const policy = String(res.getHeader('content-security-policy'))
    const { origin } = new URL(apiUrl())
    res.set(
      'content-security-policy',
      `${policy.replace("connect-src 'self'", `connect-src 'self' ${origin}`)}; worker-src 'self'`,
    )
    next()
  })
  router.get('/sign-up/settings', (_req, res) => {
    res.json({ api_url: apiUrl(), publishable_key: publishableKey ?? null })
  })
  for (const [name, path] of Object.entries(widgetFiles))
    router.get(`/altcha/${name}`, (_req, res) => {
      res.sendFile(join(packageFolder, ...path))
    })
  return router
}
