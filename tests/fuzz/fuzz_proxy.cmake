set(fuzz_proxy_LIBS gw_net)
