set(fuzz_xml_LIBS gw_xml)
