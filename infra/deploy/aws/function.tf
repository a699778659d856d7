# The container Lambda (docs/deploy.md, "A function"), off unless `function_image` is given: it does the jobs about one photo
# instead of the workers, and what is uploaded to a bucket of its own. One queue wakes it for both: the web sends jobs, S3
# sends uploads. S3 could call the function itself, but would try a call that failed only twice more; the queue keeps it.
locals {
  with_function = var.function_image != null
  # What makes a job wake the function: of web, courier, keeper and worker, and of the function itself.
  waking = {
    SHITU_JOBS__FUNCTION_QUEUE_URL = one(aws_sqs_queue.jobs[*].url)
  }
  # SHITU_DATA_DIR is the image's. Lambda reads no secret by itself: the URL lies in the function's configuration, encrypted.
  function_settings = {
    SHITU_OBJECTS__URL    = "s3://${aws_s3_bucket.objects.id}"
    SHITU_OBJECTS__REGION = var.region
    SHITU_REDIS_URL       = local.redis_url
  }
}

resource "aws_sqs_queue" "jobs" {
  count                      = local.with_function ? 1 : 0
  name                       = "${var.name}-jobs"
  visibility_timeout_seconds = 6 * var.function_timeout_s # what AWS asks for: no message comes again while it is being done
  message_retention_seconds  = 345600                     # four days
  sqs_managed_sse_enabled    = true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[0].arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue" "dead" {
  count                     = local.with_function ? 1 : 0
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600 # fourteen days, the most there are
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  count     = local.with_function ? 1 : 0
  queue_url = aws_sqs_queue.dead[0].url
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.jobs[0].arn]
  })
}

resource "aws_cloudwatch_log_group" "function" {
  count             = local.with_function ? 1 : 0
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 30
}

# To Redis within the network; to S3 and SQS by TLS. Nothing calls it by the network.
resource "aws_security_group" "function" {
  count       = local.with_function ? 1 : 0
  name_prefix = "${var.name}-function-"
  vpc_id      = var.vpc_id
  egress {
    description = "Redis"
    from_port   = 6379
    to_port     = 6379
    protocol    = "tcp"
    cidr_blocks = [data.aws_vpc.own.cidr_block]
  }
  egress {
    description = "S3 and SQS"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_lambda_function" "photos" {
  count         = local.with_function ? 1 : 0
  function_name = var.name
  package_type  = "Image"
  image_uri     = var.function_image
  architectures = ["x86_64"]
  role          = aws_iam_role.function[0].arn
  timeout       = var.function_timeout_s
  memory_size   = var.function_memory_mb
  environment {
    variables = merge(local.function_settings, local.waking)
  }
  vpc_config {
    subnet_ids         = var.private_subnets
    security_group_ids = [aws_security_group.function[0].id]
  }
  logging_config {
    log_format = "Text" # each line is JSON already
    log_group  = aws_cloudwatch_log_group.function[0].name
  }
  depends_on = [aws_iam_role_policy.function]
}

resource "aws_lambda_event_source_mapping" "jobs" {
  count                   = local.with_function ? 1 : 0
  event_source_arn        = aws_sqs_queue.jobs[0].arn
  function_name           = aws_lambda_function.photos[0].arn
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config {
    maximum_concurrency = var.most_functions
  }
}
