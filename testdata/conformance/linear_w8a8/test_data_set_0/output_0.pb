ByJxHäCšG	Å4SªC4=YÆÄõ÷Á>êWDÍ˜‚ÄŒì7Bg&›Ã\qBgÖ'ÄÍ¬8Ã™¹B4#RÅÏÂEÄg"
EÞÄ0ÃÍF$F®Ø—AÃu®BÍ4âD@5<AgÖEqïA%ÀCšßÅÇK5AÍ\E)m¬A