import { isGrpcServiceError } from '@temporalio/client'

/** Temporal does not answer. */
export class EngineDown extends Error {
  override name = 'EngineDown'
}
/** Temporal answers, but could not take the start in time. */
export class EngineOverloaded extends Error {
  override name = 'EngineOverloaded'
}

/** The gRPC status codes that we tell apart. */
export const grpc = {
  /** Also the server's word for a deadline that it saw pass before we did. */
  cancelled: 1,
  deadlineExceeded: 4,
  alreadyExists: 6,
  resourceExhausted: 8,
  unavailable: 14,
} as const

/** The gRPC status of an error of Temporal's client, which wraps some of them. */
export function grpcCodeOf(error: unknown): number | undefined {
  const cause = error instanceof Error && !isGrpcServiceError(error) ? error.cause : error
  return isGrpcServiceError(cause) ? cause.code : undefined
}
