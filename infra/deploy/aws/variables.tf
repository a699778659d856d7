variable "region" {
  type        = string
  description = "Where everything is."
}

variable "name" {
  type        = string
  default     = "shitu"
  description = "Before the name of everything that is made."
}

variable "vpc_id" {
  type        = string
  description = "An existing network."
}

variable "private_subnets" {
  type        = list(string)
  description = "At least two, in different zones, with a way out for the courier (NAT)."
}

variable "public_subnets" {
  type        = list(string)
  description = "At least two, of the load balancer."
}

variable "certificate_arn" {
  type        = string
  description = "Of the host name of the service."
}

variable "web_image" {
  type        = string
  description = "The target `web` of infra/deploy/docker/Dockerfile, pushed to a registry."
}

variable "worker_image" {
  type        = string
  description = "The target `worker`."
}

variable "most_workers" {
  type        = number
  default     = 20
  description = "No more workers than these, whatever waits."
}

variable "least_workers" {
  type        = number
  default     = 0
  description = "0: none while no job is open; the first job then waits for a task to start."
}

variable "redis_node" {
  type        = string
  default     = "cache.t4g.medium"
  description = "Type of the two Redis nodes."
}

variable "function_image" {
  type        = string
  default     = null
  description = "The target `function`, in this region's ECR: jobs about one photo wake it. Null: no function, the workers do all."
}

variable "function_timeout_s" {
  type        = number
  default     = 60
  description = "A call that takes longer is ended; its message comes again after six times as long."
  validation {
    condition     = var.function_timeout_s >= 10 && var.function_timeout_s <= 900
    error_message = "A function may last 900 s at the most, and needs some seconds to start."
  }
}

variable "function_memory_mb" {
  type        = number
  default     = 2048
  description = "1769 have one core."
  validation {
    condition     = var.function_memory_mb >= 1024 && var.function_memory_mb <= 10240
    error_message = "From 1024 (the networks and a gallery) to 10240."
  }
}

variable "most_functions" {
  type        = number
  default     = 20
  description = "No more calls at once than these: each has connections to Redis."
  validation {
    condition     = var.most_functions >= 2 && var.most_functions <= 1000
    error_message = "From 2 to 1000, as SQS has it."
  }
}
