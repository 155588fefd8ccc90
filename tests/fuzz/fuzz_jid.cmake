set(fuzz_jid_LIBS gw_xml)
