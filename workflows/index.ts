export { eventDelivery } from './event-delivery'
export { otpRequest } from './otp-request'
export { retention } from './retention'
