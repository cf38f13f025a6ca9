/** How long what is kept is kept, in days. */
export interface Retention {
  /** A recipient's address, counted from its last request. */
  recipients: number
  /** Addresses of callers' users and consent records. */
  contexts: number
  /** Callers' texts and metadata, counted from the end of their request. */
  messages: number
  /** Events and the log of their deliveries. */
  events: number
  /** Requests with their attempts and receipts. */
  requests: number
  /** Audit rows of requests, counted from the last one. */
  audit: number
}
export type Retained = keyof Retention

/**
 * A request and its audit go together, in days, when both have had their time: the audit names its request, and a
 * request that is still there may get another row.
 */
export const wholeRequestDays = ({ requests, audit }: Retention): number =>
  Math.max(requests, audit)

/** The least that makes sense: less would take rows away that the service still works with. */
export const shortestRetention: Retention = {
  recipients: 1,
  contexts: 1,
  messages: 1,
  events: 7,
  requests: 90,
  audit: 90,
}

export const usualRetention: Retention = {
  recipients: 30,
  contexts: 30,
  messages: 1,
  events: 30,
  requests: 365,
  audit: 365,
}
