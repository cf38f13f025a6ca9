ALTER TYPE "public"."fault" ADD VALUE 'unroutable' BEFORE 'throttled';--> statement-breakpoint
CREATE TABLE "provider_callbacks" (
	"provider" text PRIMARY KEY NOT NULL,
	"refused_at" timestamp (6) with time zone NOT NULL
);
