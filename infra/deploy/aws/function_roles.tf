# What the function may: read galleries and photos, write what a job leaves, take and send messages of its own queue, log. And
# the tasks may send to that queue.
data "aws_iam_policy_document" "function_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  count              = local.with_function ? 1 : 0
  name               = "${var.name}-function"
  assume_role_policy = data.aws_iam_policy_document.function_assume.json
}

locals {
  account = "${var.region}:${data.aws_caller_identity.own.account_id}"
}

data "aws_iam_policy_document" "function" {
  count = local.with_function ? 1 : 0
  statement {
    sid     = "Read"
    actions = ["s3:GetObject"]
    resources = [
      "${aws_s3_bucket.objects.arn}/galleries/*",
      "${aws_s3_bucket.objects.arn}/images/*",
      "${aws_s3_bucket.objects.arn}/photos/*",
      "${aws_s3_bucket.objects.arn}/previews/*",
      "${aws_s3_bucket.objects.arn}/results/*",
      "${aws_s3_bucket.objects.arn}/installation/id",
    ]
  }
  statement {
    sid     = "Write" # no gallery; and it deletes nothing
    actions = ["s3:PutObject"]
    resources = [
      "${aws_s3_bucket.objects.arn}/photos/*",
      "${aws_s3_bucket.objects.arn}/previews/*",
      "${aws_s3_bucket.objects.arn}/results/*",
    ]
  }
  statement {
    sid       = "Uploads"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.photos[0].arn}/uploads/*"]
  }
  statement {
    sid       = "Answers"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.photos[0].arn}/results/*"]
  }
  statement {
    sid       = "List" # without it S3 refuses a key that is not there, instead of saying so
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.objects.arn, aws_s3_bucket.photos[0].arn]
  }
  statement {
    sid       = "Queue"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"]
    resources = [aws_sqs_queue.jobs[0].arn]
  }
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function[0].arn}:*"]
  }
  statement {
    sid = "Network"
    actions = [
      "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
    ]
    resources = concat(
      ["arn:aws:ec2:${local.account}:network-interface/*"],
      [for subnet in var.private_subnets : "arn:aws:ec2:${local.account}:subnet/${subnet}"],
      [aws_security_group.function[0].arn],
    )
  }
  statement {
    sid       = "Interfaces"
    actions   = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]
    resources = ["*"] # these actions know no resource
  }
  statement {
    sid    = "NotByItsCode" # Lambda makes the network interfaces, in the function's name; the function does not
    effect = "Deny"
    actions = [
      "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
      "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
    ]
    resources = ["*"]
    condition {
      test     = "ArnEquals"
      variable = "lambda:SourceFunctionArn"
      values   = ["arn:aws:lambda:${local.account}:function:${var.name}"]
    }
  }
}

resource "aws_iam_role_policy" "function" {
  count  = local.with_function ? 1 : 0
  role   = aws_iam_role.function[0].id
  policy = data.aws_iam_policy_document.function[0].json
}

data "aws_iam_policy_document" "wake" {
  count = local.with_function ? 1 : 0
  statement {
    sid       = "Wake"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.jobs[0].arn]
  }
}

resource "aws_iam_role_policy" "wake" {
  count  = local.with_function ? 1 : 0
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.wake[0].json
}
