# SPDX-License-Identifier: Apache-2.0
"""A KurrentDB / EventStoreDB node that is only files: see README.md."""
