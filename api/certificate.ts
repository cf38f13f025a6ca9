import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { Logger } from 'pino'

export interface CertificateFiles {
  /** PEM: the certificate, then those between it and the root. */
  certFile: string
  /** PEM: its private key, without a passphrase. */
  keyFile: string
}

interface Reading {
  cert: Buffer
  key: Buffer
  validTo: Date
}

/** A certificate that follows its files. */
export interface Certificate {
  current(): Reading
  /** Calls back with every renewed certificate until `close`. */
  onRenewal(renewed: (reading: Reading) => void): void
  close(): void
}

const rereadMs = 5_000

/**
 * Reads the certificate of the API's own TLS, and again every 5 s, so that a renewal needs no restart.
 * @throws one sentence when the files cannot be used; later faults are logged, and the last good reading stays
 */
export function openCertificate(files: CertificateFiles, logger: Logger): Certificate {
  let reading = readCertificate(files)
  let lastFault: string | undefined
  const listeners: ((reading: Reading) => void)[] = []
  warnOfExpiry(reading, logger)

  const reread = () => {
    try {
      const next = readCertificate(files)
      lastFault = undefined
      if (next.cert.equals(reading.cert) && next.key.equals(reading.key)) return
      reading = next
      for (const renewed of listeners) renewed(reading)
      logger.info({ valid_to: reading.validTo }, 'the TLS certificate was renewed')
      warnOfExpiry(reading, logger)
    } catch (error) {
      const fault = error instanceof Error ? error.message : 'unknown'
      // The two files are rarely replaced in the same instant: a fault of one look may be gone at the next.
      if (fault !== lastFault) logger.warn({ fault }, 'the new TLS certificate cannot be used yet')
      lastFault = fault
    }
  }
  const timer = setInterval(reread, rereadMs)
  timer.unref()
  return {
    current: () => reading,
    onRenewal: (renewed) => void listeners.push(renewed),
    close: () => clearInterval(timer),
  }
}

function warnOfExpiry({ validTo }: Reading, logger: Logger): void {
  if (validTo.getTime() < Date.now())
    logger.warn({ valid_to: validTo }, 'the TLS certificate has expired: callers will refuse it')
}

/** Messages name the variable and the file, never what is in it. */
function readCertificate({ certFile, keyFile }: CertificateFiles): Reading {
  const cert = readFile('TLS_CERT', certFile)
  const key = readFile('TLS_KEY', keyFile)
  const x509 = parsed(
    'TLS_CERT',
    certFile,
    'holds no PEM certificate',
    () => new X509Certificate(cert),
  )
  const privateKey = parsed(
    'TLS_KEY',
    keyFile,
    'holds no PEM private key without a passphrase',
    () => createPrivateKey(key),
  )
  if (!x509.checkPrivateKey(privateKey))
    throw new Error(`TLS_KEY: ${keyFile} is not the key of the certificate in ${certFile}.`)
  parsed('TLS_CERT', certFile, 'cannot be used for TLS', () => createSecureContext({ cert, key }))
  return { cert, key, validTo: x509.validToDate }
}

function readFile(variable: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : ''
    throw new Error(`${variable}: ${path} cannot be read${code}.`, { cause: error })
  }
}

function parsed<T>(variable: string, path: string, fault: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw new Error(`${variable}: ${path} ${fault}.`, { cause: error })
  }
}
