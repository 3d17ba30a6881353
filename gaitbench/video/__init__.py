"""From videos to frames of walking people: decoding, who is where, optical flow, crops.

Nothing is imported here, so that the names and shapes of what is stored (`video.frames`) cost
nothing; decoding needs PyAV, flow and people need OpenCV, crops and SPyNet need torch.
"""
