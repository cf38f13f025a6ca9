import { ApplicationFailure } from '@temporalio/workflow'

/** Ends a run that somebody started with an input that is none of ours; any other error would be retried for ever. */
export const refuseInput = (): ApplicationFailure =>
  ApplicationFailure.nonRetryable('The input is not of its shape.', 'InvalidInput')
