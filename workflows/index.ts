export { eventDelivery } from './event-delivery'
export { otpRequest } from './otp-request'
export { providerHealth } from './provider-health'
export { retention } from './retention'
