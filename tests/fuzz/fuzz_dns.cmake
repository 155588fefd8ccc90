set(fuzz_dns_LIBS gw_net)
