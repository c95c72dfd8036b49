using System.Buffers.Binary;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>The texts of JPEG files: EXIF fields and comments, from the segments in front of the picture (ITU-T T.81, annex B).</summary>
internal static class JpegText
{
    private const byte StartOfScan = 0xda;
    private const byte EndOfImage = 0xd9;
    private const byte Application1 = 0xe1;
    private const byte Comment = 0xfe;

    /// <exception cref="InvalidDataException">The file is cut off or damaged.</exception>
    public static List<PictureText> Read(ReadOnlySpan<byte> file)
    {
        var texts = new List<PictureText>();
        var place = 2;
        while (true)
        {
            // Any number of fill bytes may stand in front of a marker.
            var marker = place;
            while (marker < file.Length - 1 && file[marker] == 0xff && file[marker + 1] == 0xff)
            {
                marker++;
            }

            if (marker + 4 > file.Length || file[marker] != 0xff)
            {
                throw Damaged();
            }

            var length = BinaryPrimitives.ReadUInt16BigEndian(file[(marker + 2)..]);
            if (length < 2 || marker + 2 + length > file.Length)
            {
                throw Damaged();
            }

            var data = file.Slice(marker + 4, length - 2);
            switch (file[marker + 1])
            {
                case Application1 when data.StartsWith(ExifText.Prefix):
                    texts.AddRange(ExifText.Read(data));
                    break;
                case Comment:
                    texts.Add(new("Comment", PngText.Decode(data.TrimEnd((byte)0))));
                    break;
                case StartOfScan:
                    return file[marker..].LastIndexOf([(byte)0xff, EndOfImage]) >= 0 ? texts : throw Damaged();
                default:
                    break;
            }

            place = marker + 2 + length;
        }
    }

    private static InvalidDataException Damaged() => new("it is cut off, or damaged");
}
