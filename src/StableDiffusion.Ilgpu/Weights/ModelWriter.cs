namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Writes a model in the layout that the output's name asks for: a single file for .safetensors, else a folder.</summary>
internal static class ModelWriter
{
    /// <summary>Refuses an output that cannot be written, before anything is read.</summary>
    /// <exception cref="StableDiffusionException">There is something else in its place, or no place for it.</exception>
    public static void CheckOutput(string output)
    {
        if (output.Length == 0)
        {
            throw new StableDiffusionException("cannot write '': it is not the name of a file or folder");
        }

        try
        {
            var target = TargetOf(output);
            if (IsSingleFile(output) ? Directory.Exists(target) : File.Exists(target))
            {
                throw new StableDiffusionException(
                    $"cannot write '{output}': it is a {(IsSingleFile(output) ? "folder" : "file")}; "
                    + "a file's name ends in .safetensors, any other name is a folder's");
            }

            FinishedFile.CheckName(target);
            var parent = FinishedFile.FolderOf(target);
            if (!Directory.Exists(parent))
            {
                throw new StableDiffusionException($"cannot write '{output}': there is no folder '{parent}'");
            }

            if (!Directory.Exists(target))
            {
                FinishedFile.CheckReplaceable(target);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CannotWrite(output, e);
        }

        if (Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any())
        {
            throw new StableDiffusionException($"cannot write '{output}': the folder is not empty");
        }
    }

    /// <summary>Writes all tensors that the opened weights hold. A file is replaced, a folder must be empty or missing.</summary>
    /// <param name="source">The model.</param>
    /// <param name="open">Opens a component's weights.</param>
    /// <param name="output">The file or folder.</param>
    /// <param name="type">F16, F32 or BF16; null for the types that the tensors have.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <exception cref="StableDiffusionException">
    /// A weight is missing or damaged, or the output cannot be written; nothing is left of it.
    /// </exception>
    public static void Write(
        IModelSource source, Func<ModelPart, IWeightSource> open, string output, TensorType? type, CancellationToken cancellationToken)
    {
        CheckOutput(output);
        if (IsSingleFile(output))
        {
            SingleFileWriter.Write(source, open, output, type, cancellationToken);
            return;
        }

        // Written beside its place, so that there never is a folder that lacks something.
        var folder = TargetOf(output);
        var temporary = FinishedFile.TemporaryBeside(folder, isLarge: true);
        try
        {
            DiffusersFolderWriter.Write(source, open, temporary, type, output, cancellationToken);
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder);
            }

            FinishedFile.Move(temporary, folder);
        }
        catch (Exception e)
        {
            if (Directory.Exists(temporary))
            {
                Directory.Delete(temporary, recursive: true);
            }

            if (e is IOException or UnauthorizedAccessException)
            {
                throw CannotWrite(output, e);
            }

            throw;
        }
    }

    /// <summary>The system's messages name the file that stands in for the output while it is written; users know the output alone.</summary>
    public static StableDiffusionException CannotWrite(string output, Exception e) => new($"{output}: cannot be written: {FinishedFile.Reason(e)}", e);

    private static string TargetOf(string output) => FinishedFile.TargetOf(Path.TrimEndingDirectorySeparator(output));

    private static bool IsSingleFile(string output) => output.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase);
}
