import pino from 'pino'
import { z } from 'zod'
import { createSandbox } from './index'

const Env = z.object({
  SANDBOX_PORT: z.coerce.number().int().min(0).max(65_535).default(8081),
  SANDBOX_HOST: z.string().min(1).default('127.0.0.1'),
  SANDBOX_SECRET: z
    .string()
    .regex(
      /^whsec_[A-Za-z0-9+/]{32,}={0,2}( whsec_[A-Za-z0-9+/]{32,}={0,2})?$/,
      'whsec_ and base64, or two of them separated by a blank',
    ),
  PORT: z.coerce.number().int().default(8080),
  OTPILOT_URL: z.url({ protocol: /^https?$/ }).optional(),
  SANDBOX_URL: z.url({ protocol: /^https?$/ }).optional(),
  OTPILOT_PUBLISHABLE_KEY: z.string().optional(),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
})

function main() {
  // An empty variable counts as absent: compose files and shells make them so.
  const given = Object.entries(process.env).filter(([, value]) => value !== '')
  const { success, data: env, error } = Env.safeParse(Object.fromEntries(given))
  if (!success) {
    console.error(`The sandbox cannot start; set these variables:\n${z.prettifyError(error)}`)
    process.exit(1)
  }

  const logger = pino({ name: 'sandbox', level: env.LOG_LEVEL })
  const otpilotUrl = env.OTPILOT_URL ?? `http://127.0.0.1:${env.PORT}`
  const sandbox = createSandbox({
    secret: env.SANDBOX_SECRET,
    otpilotUrl,
    logger,
    url: env.SANDBOX_URL,
    publishableKey: env.OTPILOT_PUBLISHABLE_KEY,
    variables: process.env,
  })

  const server = sandbox.app.listen(env.SANDBOX_PORT, env.SANDBOX_HOST, (failure) => {
    if (failure) {
      const why = `The sandbox cannot listen on port ${env.SANDBOX_PORT}: ${failure.message}.`
      console.error(`${why} Set SANDBOX_PORT to a free one.`)
      process.exit(1)
    }
    sandbox.ready.then(
      () => {
        logger.info({ port: env.SANDBOX_PORT }, 'the sandbox serves')
        process.send?.({ ready: true })
      },
      ({ message }: Error) => {
        console.error(message)
        process.exit(1)
      },
    )
  })
  // Longer than the senders keep theirs, so that a reused connection is never one being closed here.
  server.keepAliveTimeout = 65_000

  let stopping = false
  const stop = () => {
    if (stopping) return
    stopping = true
    server.close(() => process.exit(0))
    void sandbox.close().finally(() => server.closeAllConnections())
  }
  for (const reason of ['SIGTERM', 'SIGINT', 'disconnect'] as const) process.on(reason, stop)
}

main()
